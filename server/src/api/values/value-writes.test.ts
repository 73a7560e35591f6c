import { describe, expect, it } from "vitest";
import { bytesOf } from "../../testing/value-bodies.js";
import { patterned, requestOf } from "../../testing/value-samples.js";
import { ValuesCluster } from "../../testing/values-cluster.js";
import { MULTIPART_BUCKET } from "../../values/value-buckets.js";
import type { WriteQuestion } from "../../writes/write-through.js";
import { ValueWrites } from "./value-writes.js";

const KEY = "k";

/** A write of an S3 client through a member. Resolves with its ETag, or its document. */
async function write(cluster: ValuesCluster, through: string, changes: Partial<WriteQuestion>): Promise<string> {
  const question: WriteQuestion = {
    kind: "write",
    ...requestOf(KEY),
    ref: { scheme: "cache", bucket: "bucket", key: KEY, url: requestOf(KEY).url },
    method: "PUT",
    query: [],
    headers: [],
    grants: [],
    changes: [],
    body: Buffer.alloc(0),
    mayRepeat: false,
    ...changes,
  };
  const { status, headers, body } = await new ValueWrites(cluster.values(through)).run(question);
  expect(status).toBe(200);
  return headers.find(([name]) => name === "etag")?.[1] ?? body.toString();
}

describe("a multipart upload of a value", () => {
  it("is completed through any member, also if a part was written by one that could not reach all others", async () => {
    const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
    await cluster.advance(1_000);
    const begun = await write(cluster, "a", { method: "POST", query: [["uploads", ""]] });
    const uploadId = /<UploadId>([0-9a-f]+)<\/UploadId>/.exec(begun)![1]!;
    const [one, two, three] = cluster.ring(`cache://${MULTIPART_BUCKET}/${uploadId}/00001`) as [string, string, string];
    await cluster.advance(1_000);
    cluster.cut(one, three);
    const bytes = patterned(20_000);
    const part = {
      query: [
        ["uploadId", uploadId],
        ["partNumber", "1"],
      ],
      body: bytes,
    } as const;
    const tag = await write(cluster, three, part);
    // The first holder of the part has not heard of it yet.
    const document = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${tag}</ETag></Part></CompleteMultipartUpload>`;
    await write(cluster, two, { method: "POST", query: [["uploadId", uploadId]], body: Buffer.from(document) });
    const read = await cluster.values(two).open({ ...requestOf(KEY), offset: 0 });
    expect((await bytesOf(read)).equals(bytes)).toBe(true);
    await cluster.close();
  });
});
