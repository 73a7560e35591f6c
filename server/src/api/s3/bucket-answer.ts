import { CacheError } from "@frontcache/proto";
import type { BucketInfo } from "../../origin/origin.js";
import type { Cache } from "../../routing/cache.js";
import type { HttpContext } from "../http/http-context.js";
import { aboutBucket, answerDocument, type Document, xmlDocument } from "./document-answer.js";
import { parseFirstListRequest, parseListRequest } from "./list-request.js";
import { FIRST_REGION, locationXml } from "./listing-xml.js";
import { listObjects, listObjectsV2 } from "./listings.js";
import type { Operation } from "./operations.js";
import { passOn } from "./passed-operation.js";
import type { BucketTarget } from "./request-target.js";

const REGION_HEADER = "x-amz-bucket-region";

/** The documents of operations that are made of the origin's answer, not passed on as they are. */
const documents: Partial<Record<Operation, (context: HttpContext, cache: Cache, target: BucketTarget) => Promise<Document>>> = {
  ListObjects: async (context, cache, { ref, query }) =>
    xmlDocument(await listObjects(cache, parseFirstListRequest(ref, query), context)),
  ListObjectsV2: async (context, cache, { ref, query }) =>
    xmlDocument(await listObjectsV2(cache, parseListRequest(ref, query), context)),
  HeadBucket: headBucket,
  GetBucketLocation: async (context, cache, target) =>
    (await locationOf(context, cache, target)) ?? xmlDocument(locationXml(await statBucket(context, cache, target))),
};

/** Answers an operation of a bucket. Never throws. */
export function answerBucket(context: HttpContext, cache: Cache, target: BucketTarget, operation: Operation): void {
  const { url, bucket } = target.ref;
  const make = documents[operation]!;
  answerDocument(context, { operation, url, resource: `/${bucket}` }, async () => make(context, cache, target), aboutBucket);
}

/** S3's own answer has all that it says about a bucket. Its region is needed by clients of stores that name none, too. */
async function headBucket(context: HttpContext, cache: Cache, target: BucketTarget): Promise<Document> {
  if (target.ref.scheme !== "s3") {
    await statBucket(context, cache, target);
    return { headers: ["Content-Type", "application/xml", REGION_HEADER, FIRST_REGION], body: Buffer.alloc(0) };
  }
  const answer = await passOn(context, cache, target);
  if (answer.status >= 300 || answer.headers.includes(REGION_HEADER)) return answer;
  return { ...answer, headers: [...answer.headers, REGION_HEADER, FIRST_REGION] };
}

function statBucket({ principal, signal }: HttpContext, cache: Cache, { ref }: BucketTarget): Promise<BucketInfo> {
  return cache.ask({ kind: "statBucket", ref, principal, signal });
}

/**
 * The origin's own answer to GetBucketLocation. Undefined: it has none, because the request needs a permission that reading does not
 * need, or the store does not know the operation.
 */
async function locationOf(context: HttpContext, cache: Cache, target: BucketTarget): Promise<Document | undefined> {
  if (target.ref.scheme !== "s3") return undefined;
  try {
    const answer = await passOn(context, cache, target);
    return answer.status === 200 && /<LocationConstraint[\s/>]/.test(answer.body.toString()) ? answer : undefined;
  } catch (error) {
    if (CacheError.from(error).retryable) throw error;
    return undefined;
  }
}
