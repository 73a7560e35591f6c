import { createHash } from "node:crypto";
import { CacheError, parseObjectUrl } from "@frontcache/proto";
import { pathOf } from "../members/http/request-head.js";
import { contentsOf, escaped, textOf, wholeTextOf } from "../members/http/xml-text.js";
import type { RunningCall } from "../members/running-call.js";
import { within } from "./multipart.js";
import { bucketPath, type SendWith, send } from "./sending.js";

/** The result of `deleteObjects`. */
export interface DeleteSummary {
  /** Objects that are gone. Those that never existed are counted, too, because stores do not distinguish them. */
  readonly deleted: number;
  readonly failures: readonly DeleteFailure[];
}

/** An object that was not deleted. */
export interface DeleteFailure {
  readonly url: string;
  readonly message: string;
}

/** Of one request, in S3. */
const MAX_KEYS = 1_000;

/** Deletes one object. It is no error if there is no such object. */
export async function deleteObject(url: string, using: SendWith, call: RunningCall): Promise<void> {
  parseObjectUrl(url);
  await send({ method: "DELETE", subject: url, path: pathOf(url), headers: {}, isRepeatable: true }, using, call);
}

/** Deletes objects of any buckets, up to a thousand per request. Rejects if a request fails as a whole. `deadlineMs`: of each request. */
export async function deleteObjects(
  urls: Iterable<string> | AsyncIterable<string>,
  onDeleted: (url: string) => void,
  using: SendWith,
  call: RunningCall,
  deadlineMs: number,
): Promise<DeleteSummary> {
  let deleted = 0;
  const failures: DeleteFailure[] = [];
  for await (const batch of batchesOf(urls)) {
    const failed = await within(call, deadlineMs, (own) => deleteBatch(batch, using, own));
    for (const key of batch.keys) onDeleted(`${batch.bucketUrl}/${key}`);
    deleted += batch.keys.length - failed.length;
    failures.push(...failed);
  }
  return { deleted, failures };
}

/** Keys of one bucket. */
interface KeyBatch {
  /** The bucket's URL, without a slash at the end. */
  readonly bucketUrl: string;
  readonly keys: string[];
}

async function* batchesOf(urls: Iterable<string> | AsyncIterable<string>): AsyncGenerator<KeyBatch, void> {
  const batches = new Map<string, KeyBatch>();
  for await (const url of urls) {
    const { scheme, bucket, key } = parseObjectUrl(url);
    const bucketUrl = `${scheme}://${bucket}`;
    const batch = batches.get(bucketUrl) ?? { bucketUrl, keys: [] };
    batch.keys.push(key);
    if (batch.keys.length === MAX_KEYS) {
      batches.delete(bucketUrl);
      yield batch;
    } else batches.set(bucketUrl, batch);
  }
  yield* batches.values();
}

async function deleteBatch({ bucketUrl, keys }: KeyBatch, using: SendWith, call: RunningCall): Promise<DeleteFailure[]> {
  const objects = keys.map((key) => `<Object><Key>${escaped(key)}</Key></Object>`);
  const body = Buffer.from(`<Delete><Quiet>true</Quiet>${objects.join("")}</Delete>`);
  const headers = { "content-type": "application/xml", "content-md5": createHash("md5").update(body).digest("base64") };
  const request = {
    method: "POST",
    subject: bucketUrl,
    path: `${bucketPath(bucketUrl)}?delete=`,
    headers,
    body,
    isRepeatable: true,
  } as const;
  const { text } = await send(request, using, call);
  return [...contentsOf(text, "Error")].map((error) => {
    const key = wholeTextOf(error, "Key");
    if (key === undefined) throw new CacheError("INTERNAL", `${bucketUrl}: an answer about deleted objects names no key`);
    const url = `${bucketUrl}/${key}`;
    const reason = textOf(error, "Message") ?? textOf(error, "Code") ?? "not deleted";
    return { url, message: reason.includes(url) ? reason : `${url}: ${reason}` };
  });
}
