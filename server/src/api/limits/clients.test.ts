import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { noLimits } from "../../testing/no-limits.js";
import { Clients } from "./clients.js";

const busy = expect.objectContaining({ code: "RESOURCE_EXHAUSTED", retryable: true });

describe("clients", () => {
  it("are limited in connections, each and in total, and forgotten with their last connection", () => {
    const clients = new Clients({ ...noLimits, maxConnections: 3, maxClientConnections: 2 }, new ManualClock());
    const [first, second] = [clients.connected("a"), clients.connected("a")];
    expect(first).toBe(second);
    expect(clients.connected("a")).toBeUndefined();
    expect(clients.connected("b")).toBeDefined();
    expect(clients.connected("c")).toBeUndefined();
    clients.disconnected(first!);
    clients.disconnected(first!);
    expect(clients.connections).toBe(1);
    expect(clients.of("a")).not.toBe(first);
    expect(clients.connected("c")).toBeDefined();
  });

  it("are limited in reads, each and in total; further reads are rejected as retryable", () => {
    const clients = new Clients({ ...noLimits, maxReads: 3, maxClientReads: 2 }, new ManualClock());
    const [a, b] = [clients.connected("a")!, clients.connected("b")!];
    expect([a.beginRead(), a.beginRead()]).toEqual([undefined, undefined]);
    expect(a.beginRead()).toEqual(busy);
    expect(a.beginRead()!.message).toMatch(/a has 2 reads running .*: try again later, or another member/);
    expect(b.beginRead()).toBeUndefined();
    expect(b.beginRead()!.message).toContain("--max-reads");
    a.endRead();
    expect(b.beginRead()).toBeUndefined();
  });

  it("get no further reads while the event loop is persistently delayed; single delays are ignored", () => {
    const clock = new ManualClock();
    let lateMs = 0;
    const late = Object.assign(Object.create(clock) as ManualClock, {
      monotonicMs: () => clock.monotonicMs() + lateMs,
      after: clock.after.bind(clock),
    });
    const clients = new Clients({ ...noLimits, overloadMs: 500 }, late);
    const client = clients.connected("a")!;
    clock.advance(100);
    expect(client.beginRead()).toBeUndefined();
    const measure = (delaysMs: number[]): void => {
      for (const delayMs of delaysMs) {
        lateMs += delayMs;
        clock.advance(100);
      }
    };
    measure([5_000, 0, 0, 900, 0]);
    expect(client.beginRead()).toBeUndefined();
    measure([600, 700]);
    expect(client.beginRead()!.message).toContain("its event loop is delayed by 600 ms (--overload-after)");
    measure([0, 0, 0]);
    expect(client.beginRead()).toBeUndefined();
    clients.close();
    expect(clock.waits).toBe(0);
  });
});
