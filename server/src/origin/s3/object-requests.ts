import { CacheError, canBeEntityTag, entityTagOf, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import { otherVersion } from "../checked-answer.js";
import type { OriginAnswer, OriginRequest, StatQuestion } from "../origin.js";
import type { S3Identity } from "./s3-client.js";
import type { PlacedClient } from "./s3-clients.js";

/** Where one attempt of a request is sent, and who signs it. */
export interface Attempt {
  readonly to: PlacedClient;
  readonly identity: S3Identity;
}

/**
 * Sends GETs and HEADs of objects: one request per call. Rejects with a CacheError, an error of the SDK or of the system, or an
 * S3Refusal.
 */
export interface ObjectRequests {
  fetch(request: OriginRequest, attempt: Attempt): Promise<OriginAnswer>;
  stat(question: StatQuestion, attempt: Attempt): Promise<ObjectInfo>;
}

/** An object's key, and the ID of the version if the URL names one. */
export interface VersionedKey {
  readonly key: string;
  readonly versionId: string | undefined;
}

/** Splits `key?versionId=id`. */
export function versionedKeyOf({ key }: ObjectRef): VersionedKey {
  if (!key.includes("?versionId=")) return { key, versionId: undefined };
  const [, plain = key, versionId] = /^(.+)\?versionId=([A-Za-z0-9._-]+)$/s.exec(key) ?? [];
  return { key: plain, versionId };
}

/** The Range header of a request. */
export function rangeOf({ offset, length }: OriginRequest): string {
  return `bytes=${offset}-${offset + length - 1}`;
}

/**
 * The If-Match header of a request; undefined: the request is for the current version. Throws FAILED_PRECONDITION for a version that
 * cannot be an entity tag: no object has it.
 */
export function ifMatchOf({ ref, version }: OriginRequest): string | undefined {
  if (version === undefined) return undefined;
  if (canBeEntityTag(version)) return entityTagOf(version);
  throw otherVersion(ref, version, new CacheError("INVALID_ARGUMENT", "not an ETag"));
}
