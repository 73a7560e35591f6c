import { type BucketPattern, parseBucketPattern } from "../../config/bucket-pattern.js";
import type { MappingReader } from "../../config/mapping-reader.js";
import type { OriginAccess, OriginKeys } from "../origin-access.js";
import { MAX_PER_ENTRY, texts } from "./entry-texts.js";

const ALL_OF_S3: readonly BucketPattern[] = [{ scheme: "s3", bucket: "*" }];

const ACCESS_KEY_ID = /^[!-~]{1,128}$/;
const SECRET = /^[!-~]{1,256}$/;
const SESSION_TOKEN = /^[!-~]{1,8192}$/;

/**
 * Reads the field `origin` of an identity: the credentials with which its requests are sent to the origins of S3, one entry or a list.
 *
 *     origin: unsigned                         # as anybody
 *     origin:
 *       - buckets: [s3://lake-*]               # default: all
 *         accessKeyId: AKIAIOSFODNN7EXAMPLE
 *         secretAccessKey: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
 *         # sessionToken: ...
 *
 * Problems are noted; no message quotes a secret.
 */
export function readOriginAccess(identity: MappingReader, principal: string): readonly OriginAccess[] {
  const value = identity.take("origin");
  if (value === undefined) return [];
  const entries: unknown[] = Array.isArray(value) ? value : [value];
  if (entries.length === 0 || entries.length > MAX_PER_ENTRY)
    identity.note("origin", `is not a list of 1 to ${MAX_PER_ENTRY} entries`);
  return entries.map((entry, at) => {
    if (entry === "unsigned") return { principal, buckets: ALL_OF_S3, credentials: "unsigned" };
    return readEntry(identity.at(Array.isArray(value) ? `origin[${at}]` : "origin", entry), principal);
  });
}

function readEntry(entry: MappingReader, principal: string): OriginAccess {
  const buckets = entry.has("buckets") ? readBuckets(entry) : ALL_OF_S3;
  const isUnsigned = entry.take("unsigned");
  if (isUnsigned !== undefined && isUnsigned !== true) entry.note("unsigned", "use true, or leave it out");
  const credentials = isUnsigned === true ? ("unsigned" as const) : readKeys(entry);
  entry.end();
  return { principal, buckets, credentials };
}

function readKeys(entry: MappingReader): OriginKeys {
  const form = { required: true, isSecret: true };
  const [accessKeyId = ""] = texts(entry, "accessKeyId", ACCESS_KEY_ID, "use the ID of an access key", form);
  const [secretAccessKey = ""] = texts(entry, "secretAccessKey", SECRET, "use its secret", form);
  const [sessionToken] = texts(entry, "sessionToken", SESSION_TOKEN, "use printable characters", { isSecret: true });
  return { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) };
}

function readBuckets(entry: MappingReader): readonly BucketPattern[] {
  const use = "use s3://name or s3://prefix*";
  return texts(entry, "buckets", /^s3:\/\/.+$/s, use, { required: true }).flatMap((text) => {
    try {
      return [parseBucketPattern(text)];
    } catch (error) {
      entry.note("buckets", (error as Error).message);
      return [];
    }
  });
}
