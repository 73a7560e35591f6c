import { CacheError, versionOfStoreTag } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import { OutcomeUnknown } from "../members/http/object-requests.js";
import { pathOf } from "../members/http/request-head.js";
import { escaped, textOf } from "../members/http/xml-text.js";
import { RunningCall } from "../members/running-call.js";
import { concurrently } from "../read-range.js";
import { type SendWith, send } from "./sending.js";

/** The headers of a request; undefined values are left out. */
export type Headers = Readonly<Record<string, string | undefined>>;

/** One part of an upload: its bytes, or where the store copies it from. */
export interface Part {
  readonly headers: Headers;
  /** Absent: none. */
  readonly body?: Uint8Array | undefined;
}

/** An object that is written in parts. */
export interface Upload {
  readonly url: string;
  /** What describes the object. */
  readonly headers: Headers;
  /** What must hold when the object appears. */
  readonly conditions: Headers;
  readonly parts: AsyncIterable<Part> | Iterable<Part>;
  /** Parts that are sent at a time. */
  readonly parallelParts: number;
  /** Called when the store has taken a part. */
  readonly onPart: (part: Part) => void;
}

/** The version that a write made. */
export interface Written {
  /** S3: the ETag without quotes; GCS: the generation. */
  readonly version: string;
  /** In a bucket with versioning. */
  readonly versionId: string | undefined;
}

/** The most parts of an upload, in S3 and GCS. */
export const MAX_PARTS = 10_000;

/** Until an upload that has failed is given up. */
const ABORT_MS = 10_000;

/** The store may take minutes to join parts, or to copy an object. */
export const LONG_FACTOR = 20;

/** Writes an object in parts. If it fails, the parts that the store has taken are removed. `deadlineMs`: of each request. */
export async function upload(object: Upload, using: SendWith, call: RunningCall, deadlineMs: number): Promise<Written> {
  const { url, conditions } = object;
  const path = pathOf(url);
  const begin = { method: "POST", subject: url, path: `${path}?uploads=`, headers: object.headers, isRepeatable: true } as const;
  const { text } = await within(call, deadlineMs, (own) => send(begin, using, own));
  const id = textOf(text, "UploadId");
  if (id === undefined) throw new CacheError("INTERNAL", `${url}: the answer to the beginning of an upload names no upload`);
  const uploadPath = `${path}?uploadId=${encodeURIComponent(id)}`;
  try {
    const tags = await sendParts(object, uploadPath, using, call, deadlineMs);
    const listed = tags.map((tag, at) => `<Part><ETag>${escaped(tag)}</ETag><PartNumber>${at + 1}</PartNumber></Part>`);
    const body = Buffer.from(`<CompleteMultipartUpload>${listed.join("")}</CompleteMultipartUpload>`);
    const complete = { method: "POST", subject: url, path: uploadPath, headers: conditions, body, isRepeatable: false } as const;
    const { head, text } = await within(call, LONG_FACTOR * deadlineMs, (own) => send(complete, using, own));
    return written(url, textOf(text, "ETag"), head.header("x-amz-version-id"));
  } catch (error) {
    if (!(error instanceof OutcomeUnknown)) await abort(url, uploadPath, using);
    throw error;
  }
}

/** Sends all parts, some at a time. Returns their entity tags in order. */
async function sendParts(
  { url, parts, parallelParts, onPart }: Upload,
  uploadPath: string,
  using: SendWith,
  call: RunningCall,
  deadlineMs: number,
): Promise<string[]> {
  const tags: string[] = [];
  const numbered = numberedParts(url, parts);
  await concurrently(call, async (running, senders) => {
    const sendSome = async (): Promise<void> => {
      for (;;) {
        const next = await untilAborted(numbered.next(), running.signal);
        if (next.done === true) return;
        const [number, part] = next.value;
        const path = `${uploadPath}&partNumber=${number}`;
        const request = { method: "PUT", subject: url, path, ...part, isRepeatable: true } as const;
        const { head, text } = await within(running, deadlineMs, (own) => send(request, using, own));
        const tag = head.header("etag") ?? textOf(text, "ETag");
        if (tag === undefined) throw new CacheError("INTERNAL", `${url}: the answer to part ${number} has no ETag`);
        tags[number - 1] = tag;
        onPart(part);
      }
    };
    for (let sender = 0; sender < parallelParts; sender++) senders.push(sendSome());
  });
  return tags;
}

async function* numberedParts(url: string, parts: Upload["parts"]): AsyncGenerator<[number: number, part: Part], void> {
  let number = 0;
  for await (const part of parts) {
    if (++number > MAX_PARTS) {
      throw new CacheError("INVALID_ARGUMENT", `${url}: an upload has at most ${MAX_PARTS} parts: set a larger partBytes`);
    }
    yield [number, part];
  }
}

/** Removes the parts of an upload. Its failure is not reported: the caller has the cause, and stores remove old uploads. */
async function abort(url: string, path: string, using: SendWith): Promise<void> {
  const request = { method: "DELETE", subject: url, path, headers: {}, isRepeatable: true } as const;
  const call = new RunningCall({ clock: using.failover.clock, subject: url, deadlineMs: ABORT_MS });
  await send(request, using, call).then(
    () => {},
    () => {},
  );
  call.end();
}

/** Runs one request of a longer call with a deadline of its own. */
export async function within<Result>(
  call: RunningCall,
  deadlineMs: number,
  work: (own: RunningCall) => Promise<Result>,
): Promise<Result> {
  const own = call.child(deadlineMs);
  try {
    return await work(own);
  } finally {
    own.end();
  }
}

/** What a write made, by its entity tag. */
export function written(url: string, tag: string | undefined, versionId: string | undefined): Written {
  const version = versionOfStoreTag(tag);
  if (version === undefined) throw new CacheError("INTERNAL", `${url}: the answer to a write has no ETag`);
  return { version, versionId };
}
