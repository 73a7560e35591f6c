import { type BucketRef, CacheError, type ObjectRef, parseObjectUrl } from "@frontcache/proto";
import type { Cache } from "../../routing/cache.js";
import type { Query } from "../../runtime/query.js";
import { BodyChecksums } from "../../writes/checksums.js";
import { type ReceivedPieces, VerifiedBody } from "../../writes/payload.js";
import { IN_MEMORY_BYTES, type RequiredGrant } from "../../writes/write-through.js";
import type { HttpContext, Upload } from "../http/http-context.js";
import { administered } from "./json-requests.js";
import type { Resource } from "./written-resource.js";

/** A request that uploads an object, or a part of one. */
export interface JsonUpload {
  readonly context: HttpContext;
  readonly upload: Upload;
  readonly cache: Cache;
  readonly bucket: BucketRef;
  readonly query: Query;
}

/** The largest object. */
const MAX_OBJECT_BYTES = 5 * 2 ** 40;

/** The object that an upload writes. Throws INVALID_ARGUMENT if it has no name. */
export function uploadedObject({ bucket }: BucketRef, name: string | undefined): ObjectRef {
  if (name === undefined || name === "") throw new CacheError("INVALID_ARGUMENT", "the request names no object");
  return parseObjectUrl(`gs://${bucket}/${name}`);
}

/** What is required to write an object with this metadata. Throws AccessDenied before a byte of the body is requested. */
export function checkedGrants(
  { authorization, principal }: HttpContext,
  ref: ObjectRef,
  query: Query,
  resource: Resource | undefined,
): RequiredGrant[] {
  const grants: RequiredGrant[] = [{ operation: "write", ref }, ...administered(ref, query, resource)];
  for (const { operation } of grants) authorization?.check(principal, operation, { bucket: ref, prefix: ref.key }, ref.url);
  return grants;
}

/** The Content-Length of a request. Undefined: it has none. */
export function declaredLength({ request }: HttpContext): number | undefined {
  const text = request.headers["content-length"];
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text) || Number(text) > MAX_OBJECT_BYTES)
    throw new CacheError("INVALID_ARGUMENT", "Content-Length is not a number, or too large", { s3Code: "EntityTooLarge" });
  return Number(text);
}

/** The checksums that a request names for the object: in its headers, and in the object's metadata. */
export function expectedChecksums({ request }: HttpContext, resource: Resource | undefined): BodyChecksums {
  const [md5, hashes] = [request.headers["content-md5"], request.headers["x-goog-hash"]];
  const named = [textIn(resource, "crc32c", "crc32c="), textIn(resource, "md5Hash", "md5=")];
  const all = [typeof hashes === "string" ? hashes : undefined, ...named].filter((each) => each !== undefined);
  const contentMd5 = typeof md5 === "string" ? md5 : undefined;
  return checksumsOf(contentMd5, all.length === 0 ? undefined : all.join(","));
}

/** GCS verifies the checksums of an object that arrives in several requests. */
export function noChecksums(): BodyChecksums {
  return checksumsOf(undefined, undefined);
}

function checksumsOf(contentMd5: string | undefined, hashes: string | undefined): BodyChecksums {
  return new BodyChecksums({ contentMd5, payloadSha256: undefined, headers: [], hashes, trailer: undefined });
}

/** A text field of an object's metadata, after a prefix. Undefined: it has no such field. */
export function textIn(resource: Resource | undefined, field: string, prefix = ""): string | undefined {
  const value = resource?.[field];
  return typeof value === "string" ? prefix + value : undefined;
}

/** Whether an object's metadata forbid to cache it. */
export function isPrivate(resource: Resource | undefined): boolean {
  return /\b(?:no-store|private)\b/i.test(textIn(resource, "cacheControl") ?? "");
}

/** A body of a known or unknown length. A short one of unknown length is read first, so that its length is known. */
export async function uploadedBody(
  received: ReceivedPieces,
  length: number | undefined,
  checksums: BodyChecksums,
): Promise<VerifiedBody> {
  if (length !== undefined) return new VerifiedBody({ received, decoded: received, length, checksums });
  const iterator = received[Symbol.asyncIterator]();
  const first: Buffer[] = [];
  for (let bytes = 0; bytes <= IN_MEMORY_BYTES; ) {
    const { done, value } = await iterator.next();
    if (done === true) return new VerifiedBody({ received, decoded: inOrder(first, iterator), length: bytes, checksums });
    first.push(value);
    bytes += value.length;
  }
  return new VerifiedBody({ received, decoded: inOrder(first, iterator), length: undefined, checksums });
}

async function* inOrder(first: readonly Buffer[], rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer, void> {
  try {
    yield* first;
    for (;;) {
      const { done, value } = await rest.next();
      if (done === true) return;
      yield value;
    }
  } finally {
    await rest.return?.();
  }
}
