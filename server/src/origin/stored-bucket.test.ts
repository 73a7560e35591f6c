import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { CACHE_ITSELF } from "../security/principal.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { bucketOf, live, pageOf, rangeOf, statOf } from "../testing/origin/requests.js";
import { type AnswerTo, type OriginQuestion, wrap } from "./origin.js";
import { storedAs } from "./stored-bucket.js";

/** A store with the bucket acme-prod-lake and one more. `asked`: what it was asked about, in order. */
function open() {
  const asked: string[] = [];
  const objects = new MemoryObjects();
  for (const url of ["s3://lake/key", "s3://acme-prod-lake/key"]) objects.put(url, "bytes");
  const memory = new MemoryOrigin(objects, new ManualClock(), 1000);
  const store = wrap(memory, {
    fetch: (request) => {
      asked.push(`${request.ref.url} in ${request.ref.bucket}`);
      return memory.fetch(request);
    },
    ask: async <Q extends OriginQuestion>(question: Q) => {
      asked.push(`${question.ref.url} in ${question.ref.bucket}`);
      return question.kind === "listBuckets"
        ? ({
            buckets: [{ name: "acme-prod-lake", region: "eu-west-3" }, { name: "secret" }],
            owner: { id: "me" },
          } as unknown as AnswerTo<Q>)
        : memory.ask(question);
    },
  });
  return { origin: storedAs({ bucket: "lake", storeBucket: "acme-prod-lake" })(store), asked };
}

describe("a bucket that is served under another name", () => {
  it("is read, asked for and listed in the store by its own name, and called by the clients'", async () => {
    const { origin, asked } = open();
    const [ref, bucket] = [parseObjectUrl("s3://lake/key"), parsePrefixUrl("s3://lake")];
    await origin.ask(statOf(ref));
    (await origin.fetch(rangeOf(ref, { offset: 0, length: 5 }))).body.destroy();
    await origin.ask(bucketOf(bucket));
    await origin.ask(pageOf(bucket, { delimiter: "", maxKeys: 10 }));
    expect(asked).toEqual([
      "s3://lake/key in acme-prod-lake",
      "s3://lake/key in acme-prod-lake",
      "s3://lake in acme-prod-lake",
      "s3://lake in acme-prod-lake",
    ]);
  });

  it("is the only one of its store that is listed, by the clients' name", async () => {
    const ref = { url: "s3://", scheme: "s3", bucket: "" } as const;
    expect(await open().origin.ask({ kind: "listBuckets", ref, signal: live, principal: CACHE_ITSELF })).toEqual({
      buckets: [{ name: "lake", region: "eu-west-3" }],
      owner: { id: "me" },
    });
  });
});
