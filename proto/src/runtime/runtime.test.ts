import { describe, expect, it } from "vitest";
import { backoffMs } from "./backoff.js";
import { BoundedMap } from "./bounded-map.js";
import { forEachConcurrent, Semaphore } from "./concurrency.js";
import { SingleFlight, singleFlight } from "./single-flight.js";

/** Work that a test ends. */
function controlled<T>(): {
  readonly work: () => Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
  started: number;
} {
  const control = { started: 0, resolve: (_: T) => {}, reject: (_: Error) => {}, work: (): Promise<T> => Promise.reject() };
  control.work = () => {
    control.started++;
    return new Promise((resolve, reject) => Object.assign(control, { resolve, reject }));
  };
  return control;
}

describe("a single flight", () => {
  it("runs the work of a key once for all concurrent callers, and again afterwards", async () => {
    const flights = new SingleFlight<string, number>();
    const control = controlled<number>();
    const both = [flights.run("a", control.work), flights.run("a", control.work)];
    expect([control.started, flights.size, flights.running("a")]).toEqual([1, 1, both[0]]);
    control.resolve(7);
    expect(await Promise.all(both)).toEqual([7, 7]);
    expect(flights.size).toBe(0);
    void flights.run("a", control.work);
    expect(control.started).toBe(2);
  });

  it("forgets work that failed, and settles whatever the outcome", async () => {
    const flights = new SingleFlight<string, number>();
    const control = controlled<number>();
    const failed = flights.run("a", control.work);
    const settled = flights.settled();
    control.reject(new Error("broken"));
    await expect(failed).rejects.toThrow("broken");
    await settled;
    expect(flights.size).toBe(0);
  });

  it("starts new work after the running work was forgotten, and keeps the new work when the older one settles", async () => {
    const flights = new SingleFlight<string, number>();
    const [older, newer] = [controlled<number>(), controlled<number>()];
    const first = flights.run("a", older.work);
    flights.forget("a");
    const second = flights.run("a", newer.work);
    older.resolve(1);
    expect(await first).toBe(1);
    expect(flights.running("a")).toBe(second);
    newer.resolve(2);
    expect([await second, flights.size]).toEqual([2, 0]);
  });

  it("of one function joins the run that has not settled", async () => {
    const control = controlled<number>();
    const run = singleFlight(control.work);
    const both = [run(), run()];
    control.resolve(7);
    expect([await Promise.all(both), control.started]).toEqual([[7, 7], 1]);
    void run();
    expect(control.started).toBe(2);
  });
});

describe("a bounded map", () => {
  it("displaces as many entries as it takes to bound their weight", () => {
    const displaced: string[] = [];
    const map = new BoundedMap<string, number>(10, (key) => displaced.push(key), { limit: 10, of: (value) => value });
    for (const [key, value] of Object.entries({ a: 4, b: 3, c: 3 })) map.set(key, value);
    map.set("b", 2);
    expect(displaced).toEqual([]);
    map.set("d", 8);
    expect([displaced, map.size]).toEqual([["a", "c"], 2]);
    map.delete("d");
    map.set("e", 8);
    expect([displaced, map.size]).toEqual([["a", "c"], 2]);
    map.set("f", 20);
    expect([...map]).toEqual([["f", 20]]);
    map.clear();
    map.set("g", 10);
    expect(map.size).toBe(1);
  });

  it("displaces the least recently used entry", () => {
    const displaced: string[] = [];
    const map = new BoundedMap<string, number>(2, (key) => displaced.push(key));
    map.set("a", 1);
    map.set("b", 2);
    expect([map.get("a"), map.peek("b")]).toEqual([1, 2]);
    map.set("c", 3);
    expect([displaced, [...map]]).toEqual([
      ["b"],
      [
        ["a", 1],
        ["c", 3],
      ],
    ]);
  });

  it("displaces nothing when an entry is replaced or deleted", () => {
    const displaced: string[] = [];
    const map = new BoundedMap<string, number>(2, (key) => displaced.push(key));
    map.set("a", 1);
    map.set("b", 2);
    map.set("a", 3);
    map.delete("b");
    map.set("c", 4);
    expect([displaced, map.size]).toEqual([[], 2]);
  });
});

describe("a semaphore", () => {
  it("runs waiting tasks in order as permits are returned, also by tasks that fail", async () => {
    const semaphore = new Semaphore(1);
    const first = controlled<void>();
    const order: string[] = [];
    const failing = semaphore.run(first.work);
    const waiting = ["a", "b"].map((name) => semaphore.run(async () => void order.push(name)));
    expect(order).toEqual([]);
    first.reject(new Error("broken"));
    await expect(failing).rejects.toThrow("broken");
    await Promise.all(waiting);
    expect(order).toEqual(["a", "b"]);
  });
});

describe("forEachConcurrent", () => {
  it("takes the next item only when its work can start", async () => {
    const controls = [controlled<void>(), controlled<void>(), controlled<void>()];
    let taken = 0;
    const items = (function* () {
      for (const control of controls) {
        taken++;
        yield control;
      }
    })();
    const all = forEachConcurrent(items, 2, (control) => control.work());
    expect(taken).toBe(2);
    controls[0]!.resolve();
    await Promise.resolve();
    await Promise.resolve();
    expect(taken).toBe(3);
    controls[1]!.resolve();
    controls[2]!.resolve();
    await all;
  });

  it("starts nothing after the first error, and rejects with it", async () => {
    const started: number[] = [];
    const all = forEachConcurrent([1, 2, 3], 1, async (item) => {
      started.push(item);
      if (item === 2) throw new Error("broken");
    });
    await expect(all).rejects.toThrow("broken");
    expect(started).toEqual([1, 2]);
  });
});

describe("the back-off", () => {
  it("doubles with each consecutive failure up to the maximum", () => {
    const waits = [1, 2, 3, 4, 1_000].map((failures) =>
      backoffMs({ firstMs: 100, longestMs: 500, jitter: 0 }, failures, () => 0.5),
    );
    expect(waits).toEqual([100, 200, 400, 500, 500]);
  });

  it("is random in half of the delay, or in the configured share", () => {
    const between = (jitter?: number): number[] =>
      [0, 1].map((r) => backoffMs({ firstMs: 100, longestMs: 500, jitter }, 1, () => r));
    expect([between(), between(1)]).toEqual([
      [50, 100],
      [0, 100],
    ]);
  });
});
