import { type BucketRef, CacheError, type ObjectRef, type Scheme } from "@frontcache/proto";
import { type AnswerTo, type BucketList, type BucketsQuestion, NotWritten, type Origin, type OriginQuestion } from "./origin.js";

/** Which buckets an origin answers for. */
export interface BucketRoute {
  readonly scheme: Scheme;
  /** A bucket's name, a prefix followed by `*`, or `*` for all. */
  readonly bucket: string;
  readonly origin: Origin;
}

/**
 * Selects the origin per bucket: the first route that matches an object's scheme and bucket. Rejects names that a store, or a
 * proxy in front of it, could take for something else than the object or bucket.
 */
export function perBucket(routes: readonly BucketRoute[]): Origin {
  const originOf = (ref: BucketRef): Origin => {
    checkName(ref);
    for (const { scheme, bucket, origin } of routes) {
      if (scheme === ref.scheme && matches(bucket, ref.bucket)) return origin;
    }
    throw new CacheError("PERMISSION_DENIED", `${ref.url}: no origin is configured for ${ref.scheme}://${ref.bucket}`);
  };
  return {
    fetch(request) {
      try {
        return originOf(request.ref).fetch(request);
      } catch (error) {
        return Promise.reject(error);
      }
    },
    ask: async <Q extends OriginQuestion>(question: Q): Promise<AnswerTo<Q>> =>
      question.kind === "listBuckets"
        ? ((await listBuckets(routes, question)) as AnswerTo<Q>)
        : originOf(question.ref).ask(question),
    write: async (request) => {
      const origin = originOf(request.ref);
      const { ref, source } = request;
      if (source !== undefined && originOf(source) !== origin) {
        const message = `${ref.url}: an object store copies only from its own buckets, and ${source.bucket} is at another origin`;
        throw new NotWritten(new CacheError("INVALID_ARGUMENT", message, { s3Code: "InvalidRequest" }));
      }
      return origin.write(request);
    },
    close() {
      for (const origin of new Set(routes.map((route) => route.origin))) origin.close();
    },
  };
}

/**
 * The buckets of all origins, each listed by the origin that serves it. Of an origin that refuses to list its buckets: those that
 * its routes name exactly. Rejects if an origin could not be asked, or if all of them refuse and no bucket is named.
 */
async function listBuckets(routes: readonly BucketRoute[], question: BucketsQuestion): Promise<BucketList> {
  const { scheme } = question.ref;
  const ofScheme = routes.filter((route) => route.scheme === scheme);
  const origins = [...new Set(ofScheme.map(({ origin }) => origin))];
  let refusal: unknown;
  const lists = await Promise.all(
    origins.map(async (origin): Promise<BucketList> => {
      try {
        return await origin.ask(question);
      } catch (error) {
        const buckets = ofScheme.flatMap((route) =>
          route.origin === origin && !route.bucket.endsWith("*") ? [{ name: route.bucket }] : [],
        );
        if (CacheError.from(error).retryable) throw error;
        refusal = error;
        return { buckets };
      }
    }),
  );
  const served = lists.flatMap(({ buckets }, at) =>
    buckets.filter(({ name }) => ofScheme.find(({ bucket }) => matches(bucket, name))?.origin === origins[at]),
  );
  if (served.length === 0 && refusal !== undefined) throw refusal;
  const owner = lists.find((list) => list.owner !== undefined)?.owner;
  return { buckets: served.sort((one, other) => (one.name < other.name ? -1 : 1)), ...(owner !== undefined && { owner }) };
}

function matches(pattern: string, bucket: string): boolean {
  return pattern.endsWith("*") ? bucket.startsWith(pattern.slice(0, -1)) : bucket === pattern;
}

/**
 * Endings that AWS reserves. The SDK does not take such a name for a bucket and sends the request elsewhere, with the member's
 * credentials: `--op-s3` to AWS's Outposts even if another endpoint is configured, `--x-s3` to S3 Express for a session. A name
 * that begins with `xn--` makes a host that can't be parsed. No ordinary bucket has any of them.
 */
const RESERVED_BUCKET = /(?:--[a-z]+-s3|\.mrap)$|^xn--/i;

/** Throws INVALID_ARGUMENT for such names. S3 itself refuses keys that leave their bucket; compatible servers may resolve them. */
export function checkName(ref: ObjectRef | BucketRef): void {
  const { url, scheme, bucket } = ref;
  if (scheme === "s3" && RESERVED_BUCKET.test(bucket)) {
    throw new CacheError("INVALID_ARGUMENT", `${url}: ${bucket} is reserved by AWS for other endpoints: use a bucket's name`);
  }
  if (!("key" in ref)) return;
  const { key } = ref;
  // GCS gets the key as one segment of the path, its slashes escaped.
  const leaves = scheme === "s3" ? leavesBucket(key) : key === "." || key === "..";
  if (leaves) throw new CacheError("INVALID_ARGUMENT", `${url}: the key leads out of its bucket: remove . and .. from it`);
}

const DOT_SEGMENT = /(?:^|\/)\.\.?(?:\/|$)/;

/** Whether the key as a path leads to the bucket itself or out of it. Empty segments do not count. */
function leavesBucket(key: string): boolean {
  if (!DOT_SEGMENT.test(key)) return false;
  let depth = 0;
  for (const segment of key.split("/")) {
    if (segment === "..") depth--;
    else if (segment !== "" && segment !== ".") depth++;
    if (depth < 0) return true;
  }
  return depth === 0;
}
