import type { ObjectRecord } from "./gen/cache.js";

/** What is known of one version of an object, from the origin. */
export interface ObjectInfo {
  /** S3: the ETag without quotes; GCS: the generation. Never empty. */
  readonly version: string;
  /** Bytes. */
  readonly objectSize: number;
  readonly contentType?: string;
  /** Milliseconds since 1970. */
  readonly lastModifiedMs?: number;
}

/** An object's record as a message. */
export function recordToMessage({ version, objectSize, contentType = "", lastModifiedMs = 0 }: ObjectInfo): ObjectRecord {
  return { version, objectSize, contentType, lastModifiedMs };
}

/** An object's record from a message. */
export function recordFromMessage({ version, objectSize, contentType, lastModifiedMs }: ObjectRecord): ObjectInfo {
  return {
    version,
    objectSize,
    ...(contentType !== "" && { contentType }),
    ...(lastModifiedMs !== 0 && { lastModifiedMs }),
  };
}
