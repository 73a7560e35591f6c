import { CacheError, parseObjectUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { bytesOf } from "../testing/answer-fixture.js";
import { bucketOf, pageOf, rangeOf, statOf, textAnswer } from "../testing/origin/requests.js";
import { measured as measuredBy, type RequestReport } from "./measured.js";
import { type Answers, answerBy, type Landing, type Origin } from "./origin.js";

const ref = parseObjectUrl("s3://bucket/k");
const signal = new AbortController().signal;

/** An origin whose head takes 5 ms and whose chunks take 10 ms each; "fail" breaks the body off. */
function measured(chunks: readonly (number | "fail")[]): { origin: Origin; reports: RequestReport[] } {
  const clock = new ManualClock();
  const reports: RequestReport[] = [];
  const length = chunks.reduce<number>((sum, chunk) => sum + (chunk === "fail" ? 1 : chunk), 0);
  const info = { version: "v", objectSize: length };
  const body = {
    async land(landing: Landing): Promise<void> {
      for (const chunk of chunks) {
        clock.advance(10);
        if (chunk === "fail") throw new CacheError("UNAVAILABLE", "reset");
        landing.landed(chunk);
      }
    },
    destroy() {},
  };
  const answers: Answers = {
    stat: async () => {
      clock.advance(7);
      return info;
    },
    list: () => Promise.reject(new CacheError("PERMISSION_DENIED", "no")),
    statBucket: async () => ({ region: undefined }),
    listBuckets: async () => ({ buckets: [] }),
    pass: async () => textAnswer("passed"),
  };
  const inner: Origin = {
    async fetch() {
      clock.advance(5);
      if (chunks.length === 0) throw new CacheError("RESOURCE_EXHAUSTED", "slow down");
      return { info, length, body };
    },
    ask: (question) => answerBy(answers, question),
    write: async () => ({ status: 200, headers: [], body: Buffer.alloc(0) }),
    close() {},
  };
  return { origin: measuredBy((report) => reports.push(report), clock)(inner), reports };
}

describe("a measured request", () => {
  it("is reported once, at its last byte, even if it is destroyed afterwards", async () => {
    const { origin, reports } = measured([3, 4]);
    const answer = await origin.fetch(rangeOf(ref, { offset: 0, length: 7 }, signal));
    await bytesOf(answer);
    answer.body.destroy();
    expect(reports).toEqual([
      { ref, operation: "fetch", outcome: "ok", error: undefined, firstByteMs: 5, durationMs: 25, bytes: 7 },
    ]);
  });

  it("is reported as CANCELLED with its received bytes if it is destroyed", async () => {
    const { origin, reports } = measured([3, 4]);
    const answer = await origin.fetch(rangeOf(ref, { offset: 0, length: 7 }, signal));
    await bytesOf(answer, (piece) => piece.length === 3 && answer.body.destroy());
    expect(reports).toMatchObject([{ outcome: "CANCELLED", bytes: 3 }]);
  });

  it("is reported with the code of its error", async () => {
    const broken = measured([3, "fail"]);
    const answer = await broken.origin.fetch(rangeOf(ref, { offset: 0, length: 4 }, signal));
    await expect(bytesOf(answer)).rejects.toThrow("reset");
    expect(broken.reports).toMatchObject([{ outcome: "UNAVAILABLE", error: { message: "reset" }, bytes: 3 }]);

    const refused = measured([]);
    await expect(refused.origin.fetch(rangeOf(ref, { offset: 0, length: 4 }, signal))).rejects.toThrow("slow down");
    expect(refused.reports).toMatchObject([{ outcome: "RESOURCE_EXHAUSTED", firstByteMs: undefined }]);
  });

  it("is reported if it is a question, too", async () => {
    const { origin, reports } = measured([1]);
    await origin.ask(statOf(ref, signal));
    await origin.ask(bucketOf(ref, signal));
    await expect(origin.ask(pageOf({ ...ref, prefix: "" }, { delimiter: "", maxKeys: 1 }, signal))).rejects.toThrow("no");
    expect(reports).toMatchObject([
      { operation: "stat", outcome: "ok", firstByteMs: 7, durationMs: 7, bytes: 0 },
      { operation: "bucket", outcome: "ok" },
      { operation: "list", outcome: "PERMISSION_DENIED" },
    ]);
  });
});
