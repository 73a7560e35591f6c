import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { CACHE_ITSELF } from "../security/principal.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { bucketOf, live, pageOf, rangeOf, statOf } from "../testing/origin/requests.js";
import { type AnswerTo, type OriginQuestion, wrap } from "./origin.js";
import { storedAs } from "./stored-bucket.js";

function open() {
  const objects = new MemoryObjects();
  objects.put("s3://acme-prod-lake/key", "bytes");
  const store = new MemoryOrigin(objects, new ManualClock(), 1000);
  const lists = wrap(store, {
    ask: async <Q extends OriginQuestion>(question: Q) =>
      question.kind === "listBuckets"
        ? ({
            buckets: [{ name: "acme-prod-lake", region: "eu-west-3" }, { name: "secret" }],
            owner: { id: "me" },
          } as unknown as AnswerTo<Q>)
        : store.ask(question),
  });
  return storedAs({ bucket: "lake", storeBucket: "acme-prod-lake" })(lists);
}

describe("a bucket that is served under another name", () => {
  it("is read, asked for and listed in the store by its own name", async () => {
    const origin = open();
    const ref = parseObjectUrl("s3://lake/key");
    expect(await origin.ask(statOf(ref))).toMatchObject({ objectSize: 5 });
    const answer = await origin.fetch(rangeOf(ref, { offset: 0, length: 5 }));
    expect(answer).toMatchObject({ length: 5 });
    answer.body.destroy();
    const bucket = parsePrefixUrl("s3://lake");
    await origin.ask(bucketOf(bucket));
    expect((await origin.ask(pageOf(bucket, { delimiter: "", maxKeys: 10 }))).objects).toMatchObject([{ key: "key" }]);
  });

  it("has the clients' name in errors", async () => {
    await expect(open().ask(statOf(parseObjectUrl("s3://lake/none")))).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining("s3://lake/none"),
    });
  });

  it("is the only one of its store that is listed, by the clients' name", async () => {
    const ref = { url: "s3://", scheme: "s3", bucket: "" } as const;
    expect(await open().ask({ kind: "listBuckets", ref, signal: live, principal: CACHE_ITSELF })).toEqual({
      buckets: [{ name: "lake", region: "eu-west-3" }],
      owner: { id: "me" },
    });
  });
});
