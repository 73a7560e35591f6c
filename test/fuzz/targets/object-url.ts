import { CacheError, parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { type FuzzTarget, isOneLine, promise, resultOf } from "../target.js";

/** The documented rejection: INVALID_ARGUMENT with a message of one line. */
export function isBadInput(error: unknown): boolean {
  return error instanceof CacheError && error.code === "INVALID_ARGUMENT" && isOneLine(error.message);
}

/** Object URLs; the characters are used unchanged. */
export const objectUrlTarget: FuzzTarget = {
  name: "object-url",
  tokens: ["s3://", "gs://", "/", "..", "%2F", "?versionId=", "\n", "\u0000", "\ud800", "\u20ac", "@", ":", "#"],
  check(input) {
    const object = resultOf(() => parseObjectUrl(input), isBadInput)?.value;
    if (object !== undefined) {
      promise(object.url === input, "an object's URL is what was asked for");
      promise(`${object.scheme}://${object.bucket}/${object.key}` === input, "its parts make it up");
      promise(/^[A-Za-z0-9._-]+$/.test(object.bucket) && object.key !== "", "bucket and key are such");
      promise(Buffer.byteLength(object.key) <= 1_024, "keys end at 1,024 bytes");
    }
    const prefix = resultOf(() => parsePrefixUrl(input), isBadInput)?.value;
    promise(object === undefined || prefix?.prefix === object.key, "an object's URL is a prefix, too");
  },
};
