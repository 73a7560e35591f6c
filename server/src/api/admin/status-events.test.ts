import { eventually, ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import type { Reply } from "../http/http-context.js";
import { StatusEvents } from "./status-events.js";

/** A reply that notes what is written; `take` says that the kernel has the last bytes. */
class NotedReply implements Reply {
  readonly events: string[] = [];
  ended = false;
  take = (): void => {};
  readonly #onClose: (() => void)[] = [];
  readonly headersSent = true;
  setHeader(): void {}
  writeHead(): void {}
  write(bytes: Buffer, taken: () => void): void {
    this.events.push(bytes.toString());
    this.take = taken;
  }
  end(): void {
    this.ended = true;
    this.close();
  }
  destroy(): void {}
  on(_event: "close", listener: () => void): void {
    this.#onClose.push(listener);
  }
  close(): void {
    for (const listener of this.#onClose.splice(0)) listener();
  }
}

function events(): { events: StatusEvents; clock: ManualClock; tick: () => Promise<void> } {
  const clock = new ManualClock();
  let reports = 0;
  const made = new StatusEvents({ report: async () => String(++reports), clock });
  const tick = async (): Promise<void> => {
    await clock.advance(2_000);
    await Promise.resolve();
  };
  return { events: made, clock, tick };
}

describe("the events of the status", () => {
  it("are sent immediately, then every two seconds, with one report for all subscribers", async () => {
    const { events: all, tick } = events();
    const [one, other] = [new NotedReply(), new NotedReply()];
    all.watch(one);
    await Promise.resolve();
    one.take();
    all.watch(other);
    await Promise.resolve();
    other.take();
    await tick();
    expect(one.events).toEqual(["data: 1\n\n", "data: 3\n\n"]);
    expect(other.events).toEqual(["data: 2\n\n", "data: 3\n\n"]);
  });

  it("are not queued for a subscriber that does not read them", async () => {
    const { events: all, tick } = events();
    const slow = new NotedReply();
    all.watch(slow);
    await tick();
    await tick();
    expect(slow.events).toHaveLength(1);
    slow.take();
    await tick();
    expect(slow.events).toHaveLength(2);
  });

  it("continue after a failed report", async () => {
    const clock = new ManualClock();
    let reports = 0;
    const report = async (): Promise<string> => {
      if (++reports === 1) throw new Error("no report");
      return String(reports);
    };
    const all = new StatusEvents({ report, clock });
    const reply = new NotedReply();
    all.watch(reply);
    await clock.advance(2_000);
    await eventually(() => expect(reply.events).toEqual(["data: 2\n\n"]));
    all.close();
  });

  it("have a bounded number of subscribers; one that disconnects makes room", () => {
    const { events: all } = events();
    const first = new NotedReply();
    expect(all.watch(first)).toBe(true);
    for (let watchers = 1; watchers < 64; watchers++) all.watch(new NotedReply());
    expect(all.watch(new NotedReply())).toBe(false);
    first.close();
    expect(all.watch(new NotedReply())).toBe(true);
  });

  it("leave no timer when the last subscriber has disconnected, and end when they are closed", async () => {
    const { events: all, clock } = events();
    const reply = new NotedReply();
    all.watch(reply);
    expect(clock.waits).toBe(1);
    reply.close();
    expect(clock.waits).toBe(0);
    const last = new NotedReply();
    all.watch(last);
    all.close();
    expect([last.ended, all.watchers, clock.waits]).toEqual([true, 0, 0]);
    expect(all.watch(new NotedReply())).toBe(false);
  });
});
