import { abortError, parseObjectUrl } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { passOf, textAnswer } from "../testing/origin/requests.js";
import { limited } from "./limited.js";
import { measured, type RequestReport } from "./measured.js";
import { compose, type PassedAnswer, type PassQuestion } from "./origin.js";
import { OriginLimits } from "./origin-limits.js";
import { wholeBody } from "./passed-body.js";
import { retrying } from "./retrying.js";

const question = passOf(parseObjectUrl("s3://bucket/key"), { query: [["acl", ""]] });

/** A body of one byte, which then stalls until its request is aborted. */
const stalling = ({ signal }: PassQuestion): PassedAnswer => ({
  status: 200,
  headers: [],
  length: undefined,
  body: {
    async *[Symbol.asyncIterator]() {
      yield Buffer.from("x");
      await new Promise<void>((resolve) => whenAborted(signal, resolve));
      throw abortError(signal);
    },
    destroy() {},
  },
});

function setup(answer?: (question: PassQuestion) => PassedAnswer) {
  const clock = new ManualClock();
  const memory = new MemoryOrigin(new MemoryObjects(), clock, 1 << 10);
  if (answer !== undefined) memory.passedAnswer = answer;
  const limits = new OriginLimits(
    { requestsPerSecond: undefined, bytesPerSecond: 1_000, concurrency: 1, maxWaitMs: 10_000, maxWaiting: 10 },
    clock,
    () => {},
  );
  const reports: RequestReport[] = [];
  const retries = {
    attempts: 3,
    baseDelayMs: 0,
    maxDelayMs: 0,
    headTimeoutMs: 1_000,
    idleTimeoutMs: 1_000,
    withFallback: { attempts: 1, headTimeoutMs: 1_000 },
    onRetry: () => {},
  };
  const wrappers = [retrying(retries, clock, () => 0), limited(limits), measured((report) => reports.push(report), clock)];
  return { clock, limits, reports, memory, origin: compose(...wrappers)(memory) };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("a passed answer", () => {
  it("counts as a running request until its body has been read, and by its bytes", async () => {
    const { origin, limits, reports, clock } = setup(() => textAnswer("y".repeat(1_500)));
    const answer = await origin.ask(question);
    expect([limits.tryAcquire(), reports]).toEqual([undefined, []]);
    expect((await wholeBody(answer, question, 2_000)).length).toBe(1_500);
    expect(reports).toMatchObject([{ operation: "pass", outcome: "ok", bytes: 1_500 }]);
    expect(clock.waits).toBe(0);
    const next = limits.acquire(question.ref.url, 1, new AbortController().signal);
    await settle();
    expect(clock.waits).toBeGreaterThan(0); // for the limit of bytes
    (await clock.run(next)).release();
    expect(clock.waits).toBe(0);
  });

  it("has ended when its reader drops it, at once or half read", async () => {
    const { origin, limits, reports, clock } = setup(stalling);
    (await origin.ask(question)).body.destroy();
    for await (const _ of (await origin.ask(question)).body) break;
    await expect(wholeBody(await origin.ask(question), question, 0)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(reports.map(({ outcome, bytes }) => [outcome, bytes])).toEqual([
      ["CANCELLED", 0],
      ["CANCELLED", 1],
      ["CANCELLED", 1],
    ]);
    expect([limits.tryAcquire(), clock.waits]).toEqual([expect.anything(), 0]);
  });

  it("fails if it stalls while its reader waits, but not while its reader pauses", async () => {
    const { origin, reports, clock } = setup(stalling);
    const iterator = (await origin.ask(question)).body[Symbol.asyncIterator]();
    expect((await iterator.next()).value?.length).toBe(1);
    clock.advance(60_000);
    await settle();
    expect(reports).toEqual([]);
    const stalled = iterator.next();
    await expect(clock.run(stalled)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(reports).toMatchObject([{ outcome: "UNAVAILABLE", bytes: 1 }]);
    expect(clock.waits).toBe(0);
  });

  it("is not repeated after its head", async () => {
    const { origin, memory, clock } = setup(stalling);
    const answer = await origin.ask(question);
    await expect(clock.run(wholeBody(answer, question, 10))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(memory.count("pass")).toBe(1);
  });
});
