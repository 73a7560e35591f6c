import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { DiskGate } from "./disk-gate.js";

interface Operation {
  readonly run: () => Promise<string>;
  readonly end: (result: string) => void;
  readonly fail: (error: Error) => void;
}

function operation(): Operation {
  let end: (result: string) => void = () => undefined;
  let fail: (error: Error) => void = () => undefined;
  const result = new Promise<string>((resolve, reject) => {
    end = resolve;
    fail = reject;
  });
  return { run: () => result, end, fail };
}

function gate(clock = new ManualClock()): { gate: DiskGate; clock: ManualClock; hangs: string[] } {
  const hangs: string[] = [];
  const limits = { ioParallelism: 2, bulkWrites: 1, diskTimeoutMs: 100 };
  return { gate: new DiskGate(clock, limits, (error) => hangs.push(error.message)), clock, hangs };
}

describe("a disk gate", () => {
  it("runs a bounded number of operations concurrently, and the others in order", async () => {
    const { gate: disk } = gate();
    const [a, b, c] = [operation(), operation(), operation()];
    const order: string[] = [];
    const runs = [a, b, c].map((each, index) =>
      disk.run(() => {
        order.push(`begin ${index}`);
        return each.run();
      }),
    );
    await Promise.resolve();
    expect(order).toEqual(["begin 0", "begin 1"]);
    b.end("b");
    expect(await runs[1]).toBe("b");
    expect(order).toEqual(["begin 0", "begin 1", "begin 2"]);
    a.fail(new Error("broken"));
    await expect(runs[0]).rejects.toThrow("broken");
    c.end("c");
    expect(await runs[2]).toBe("c");
    expect(disk.running).toBe(0);
  });

  it("runs batched operations beside a full number of others, and further ones in their places when there are many", async () => {
    const { gate: disk } = gate();
    const places = [operation(), operation()];
    const running = places.map((each) => disk.run(each.run));
    const batch = operation();
    const begun: number[] = [];
    const batched = Array.from({ length: 70 }, (_, index) =>
      disk.runBatched(() => {
        begun.push(index);
        return batch.run();
      }),
    );
    expect(begun).toHaveLength(64);
    places[0]!.end("");
    await running[0];
    expect(begun).toHaveLength(65);
    places[1]!.end("");
    batch.end("");
    await Promise.all([...running, ...batched]);
    expect(disk.running).toBe(0);
  });

  it("gives batched operations no place of others", async () => {
    const { gate: disk } = gate();
    const batch = operation();
    const batched = [1, 2, 3].map(() => disk.runBatched(batch.run));
    expect(await disk.run(async () => "a read")).toBe("a read");
    batch.end("");
    await Promise.all(batched);
  });

  it("runs fewer bulk writes, so that other operations find a place beside them", async () => {
    const { gate: disk } = gate();
    const [a, b, c, d] = [operation(), operation(), operation(), operation()];
    const order: string[] = [];
    const begin = (name: string, each: Operation) => async () => {
      order.push(name);
      await each.run();
    };
    const writes = [disk.writeBulk(begin("a", a)), disk.writeBulk(begin("b", b))];
    const read = disk.run(begin("c", c));
    await new Promise(setImmediate);
    expect(order).toEqual(["a", "c"]);
    a.end("");
    await writes[0];
    expect(order).toEqual(["a", "c", "b"]);
    const last = disk.run(begin("d", d));
    b.fail(new Error("broken"));
    await expect(writes[1]).rejects.toThrow("broken");
    c.end("");
    d.end("");
    await Promise.all([read, last]);
    expect(disk.running).toBe(0);
  });

  it("fails waiting bulk writes, too, when an operation exceeds its limit, and runs later ones when the disk has answered", async () => {
    const { gate: disk, clock } = gate();
    const [a, b] = [operation(), operation()];
    const writes = [a, b].map((each) =>
      disk.writeBulk(async () => {
        await each.run();
      }),
    );
    const ends = Promise.allSettled(writes);
    clock.advance(100);
    expect((await ends).map((end) => end.status)).toEqual(["rejected", "rejected"]);
    a.end("");
    await disk.answered();
    await disk.writeBulk(async () => undefined);
    expect([disk.running, clock.waits]).toEqual([0, 0]);
  });

  it("fails an operation that exceeds its limit, waiting ones and new ones, until the disk answers", async () => {
    const { gate: disk, clock, hangs } = gate();
    const [a, b] = [operation(), operation()];
    const late: string[] = [];
    const runs = [disk.run(a.run, (value) => late.push(value)), disk.run(b.run), disk.run(async () => "c")];
    const ends = Promise.allSettled(runs);
    clock.advance(100);
    expect((await ends).map((end) => end.status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(hangs.length).toBeGreaterThan(0);
    expect(disk.isHanging).toBe(true);
    await expect(disk.run(async () => "d")).rejects.toMatchObject({ code: "ETIMEDOUT" });
    a.end("a");
    b.fail(new Error("broken"));
    await new Promise(setImmediate);
    expect(late).toEqual(["a"]);
    expect([disk.isHanging, disk.running]).toEqual([false, 0]);
    expect(await disk.run(async () => "e")).toBe("e");
    expect(clock.waits).toBe(0);
  });
});
