import { CacheError } from "@frontcache/proto";

export const JSON_TYPE = "application/json; charset=UTF-8";

/** An object of GCS's JSON API, as a client or GCS has sent it. */
export type Resource = Readonly<Record<string, unknown>> & { readonly destination?: Resource };

/** The fields of an object that a principal may write who may write the object. All others may change who may do what. */
export const RESOURCE_FIELDS: ReadonlySet<string> = new Set([
  ...["kind", "id", "name", "bucket", "generation", "metageneration", "selfLink", "mediaLink", "etag", "size", "componentCount"],
  ...["contentType", "contentEncoding", "contentLanguage", "contentDisposition", "cacheControl", "metadata", "customTime"],
  ...[
    "storageClass",
    "kmsKeyName",
    "customerEncryption",
    "crc32c",
    "md5Hash",
    "sourceObjects",
    "destination",
    "deleteSourceObjects",
  ],
  ...["timeCreated", "timeFinalized", "timeStorageClassUpdated", "updated"],
]);

/** A document of a client, and what GCS gets. */
export interface WrittenResource {
  /** Undefined: the document is empty. */
  readonly resource: Resource | undefined;
  /** Made anew of the resource: a name that stands twice in the client's document could mean another value to GCS. */
  readonly document: Buffer;
}

/** Reads a document on which a decision about access depends. Throws INVALID_ARGUMENT unless it is empty or a JSON object. */
export function writtenResource(bytes: Uint8Array): WrittenResource {
  if (bytes.length === 0) return { resource: undefined, document: Buffer.alloc(0) };
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes), exactly);
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return { resource: value as Resource, document: Buffer.from(JSON.stringify(value)) };
  } catch {
    // Invalid UTF-8, no JSON, or too many levels.
  }
  throw new CacheError("INVALID_ARGUMENT", "the document must be a JSON object in UTF-8, with whole numbers of at most 53 bits");
}

/** Other numbers would be written differently. No field of an object has them. */
function exactly(_: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isSafeInteger(value)) throw new TypeError("not a safe integer");
  return value;
}

/** Undefined: the bytes of GCS's answer are no JSON object. */
export function parseResource(bytes: Uint8Array): Resource | undefined {
  if (bytes.length === 0) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString());
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Resource) : undefined;
  } catch {
    return undefined;
  }
}
