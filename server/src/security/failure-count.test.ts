import { ManualClock } from "@frontcache/proto/testing";
import { expect, it } from "vitest";
import { silentLog } from "../testing/silent-ports.js";
import { FailureCount, LISTENERS } from "./failure-count.js";

it("counts every failure, and logs one line in ten seconds with the number of those that it stands for", () => {
  const clock = new ManualClock();
  const lines: unknown[] = [];
  const log = { ...silentLog, warn: (...line: unknown[]) => lines.push(line) } as unknown as typeof silentLog;
  const failures = new FailureCount(clock, log, "authentication-failed", "authentication failed");
  const fail = (): void => failures.failed("wrong token", { listener: "http", client: "10.0.0.7" });
  for (let repeat = 0; repeat < 1_000; repeat++) fail();
  clock.advance(10_000);
  fail();
  const fields = { event: "authentication-failed", listener: "http", client: "10.0.0.7" };
  expect(failures.counts).toEqual({ ...Object.fromEntries(LISTENERS.map((name) => [name, 0])), http: 1_001 });
  expect(lines).toEqual([
    [{ ...fields, unlogged: 0 }, "authentication failed: wrong token"],
    [{ ...fields, unlogged: 999 }, "authentication failed: wrong token"],
  ]);
});
