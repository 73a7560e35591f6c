import { type BucketRef, CacheError, type ObjectRef } from "@frontcache/proto";

/**
 * Endings that AWS reserves. The SDK takes such a name for something else than a bucket and sends the request elsewhere, with
 * the member's credentials: `--op-s3` to AWS's Outposts even where another endpoint is configured, `--x-s3` to S3 Express for
 * a session. A name that begins with `xn--` makes a host that can't be parsed. No ordinary bucket has any of them.
 */
const RESERVED_BUCKET = /(?:--[a-z]+-s3|\.mrap)$|^xn--/i;

/**
 * Refuses, by INVALID_ARGUMENT, names that stores, or proxies before them, could take for something else than an object of
 * that bucket, or than that bucket. S3 itself refuses keys that climb out of their bucket; servers that speak like it may
 * resolve them instead.
 */
export function checkName(ref: ObjectRef | BucketRef): void {
  const { url, scheme, bucket } = ref;
  if (scheme === "s3" && RESERVED_BUCKET.test(bucket)) {
    throw new CacheError("INVALID_ARGUMENT", `${url}: ${bucket} is a name of another kind than buckets: name a bucket`);
  }
  if (!("key" in ref)) return;
  const { key } = ref;
  // GCS is sent the key as one part of the path, its slashes escaped.
  const leaves = scheme === "s3" ? climbs(key) : key === "." || key === "..";
  if (leaves) throw new CacheError("INVALID_ARGUMENT", `${url}: the key leads out of its bucket: leave out . and .. in it`);
}

const DOT_PART = /(?:^|\/)\.\.?(?:\/|$)/;

/** Whether the key as a path leads to the bucket itself or out of it, empty parts counting for nothing. */
function climbs(key: string): boolean {
  if (!DOT_PART.test(key)) return false;
  let depth = 0;
  for (const part of key.split("/")) {
    if (part === "..") depth--;
    else if (part !== "" && part !== ".") depth++;
    if (depth < 0) return true;
  }
  return depth === 0;
}
