import type { IncomingHttpHeaders } from "node:http";
import { CacheError, errorTable, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import type { PassQuestion } from "../../origin/origin.js";
import { wholeBody } from "../../origin/passed-body.js";
import type { Cache } from "../../routing/cache.js";
import { NO_QUERY, Query } from "../../runtime/query.js";
import type { HttpContext } from "../http/http-context.js";
import { answerOperation } from "../s3/answer-operation.js";
import { customerKeyHeaders, hasCustomerKey } from "../s3/customer-key.js";
import { answerDocument, type Document, type ErrorChange } from "../s3/document-answer.js";
import { sendError } from "../s3/error-response.js";
import { type ObjectTarget, objectTarget } from "../s3/request-target.js";
import { acceptsGzip, answerDecompressed, isDecompressed } from "./decompressed-answer.js";
import { jsonError } from "./json-errors.js";
import { type JsonTarget, parseJsonTarget } from "./json-target.js";
import { answerJsonWrite } from "./json-writes.js";
import { type JsonConditions, jsonConditions, judgeJson, objectResource } from "./object-resource.js";
import { JSON_TYPE } from "./written-resource.js";

/** More than a thousand objects with all their metadata. */
const MAX_DOCUMENT_BYTES = 16 << 20;

/** Parameters by which an object's metadata can be answered from its record. Others are the origin's to answer. */
const KNOWN_PARAMETERS =
  /^(?:alt|fields|prettyPrint|projection|userProject|key|quotaUser|uploadType|generation|if(?:Metag|G)eneration(?:Not)?Match|\$.*)$/;

/** S3's form of an error has another status for a throttled client than GCS's. */
const statusOfGcs: ErrorChange = (error) =>
  error.errorCode === "RESOURCE_EXHAUSTED" || error.errorCode === "UNAUTHENTICATED"
    ? { ...error, status: errorTable[error.errorCode].http }
    : error.code === "RequestTimeout"
      ? { ...error, status: 408 }
      : error;

/**
 * Answers a request of GCS's JSON API: an object's bytes and metadata from the cache, listings and buckets from the origin. Never
 * throws. `target` is the request's target without a host.
 */
export function answerJson(received: HttpContext, cache: Cache, target: string): void {
  const context: HttpContext = { ...received, errorForm: { contentType: JSON_TYPE, write: jsonError, change: statusOfGcs } };
  const mark = target.indexOf("?");
  const path = mark < 0 ? target : target.slice(0, mark);
  const query = mark < 0 ? NO_QUERY : new Query(target.slice(mark + 1));
  const { method } = context.request;
  const writes = method !== "GET" && method !== "HEAD";
  if (writes && context.upload === undefined) {
    refuse(context, 405, "this is a cache for reading: write to Google Cloud Storage itself");
    return;
  }
  try {
    const named = parseJsonTarget(path);
    if (!writes) answerTarget(context, cache, named, query);
    else if (!answerJsonWrite(context, cache, named, query))
      refuse(context, 501, `${method} is served for objects only: ask Google Cloud Storage itself`);
  } catch (error) {
    const { message } = CacheError.from(error);
    refuse(context, 400, message);
  }
}

function answerTarget(context: HttpContext, cache: Cache, target: JsonTarget, query: Query): void {
  switch (target.kind) {
    case "uploads":
    case "compose":
    case "copyTo":
    case "rewriteTo":
    case "moveTo":
    case "other":
      refuse(context, 501, "only buckets, objects and their bytes are served: ask Google Cloud Storage itself");
      break;
    case "buckets":
      answer(context, "buckets.list", "gs://", () => bucketList(context, cache, query));
      break;
    case "bucket":
      answer(context, "buckets.get", target.ref.url, () => passed(context, cache, { ref: target.ref }, query));
      break;
    case "objects":
      answer(context, "objects.list", target.ref.url, () =>
        passed(context, cache, { ref: target.ref, collection: "objects" }, query),
      );
      break;
    case "object": {
      const { ref, isDownload } = target;
      const conditions = jsonConditions((name) => query.get(name));
      if (isDownload || query.get("alt") === "media") answerMedia(context, cache, ref, conditions);
      else answer(context, "objects.get", ref.url, () => metadata(context, cache, ref, query, conditions));
    }
  }
}

function answer(context: HttpContext, operation: string, url: string, make: () => Promise<Document>): void {
  answerDocument(context, { operation, url, resource: url }, make);
}

/** An object's metadata, from its record. */
async function metadata(
  context: HttpContext,
  cache: Cache,
  ref: ObjectRef,
  query: Query,
  conditions: JsonConditions,
): Promise<Document> {
  const needsOrigin = query.get("projection") === "full" || [...query.names()].some((name) => !KNOWN_PARAMETERS.test(name));
  const { principal, signal, request } = context;
  // GCS returns the hashes of an object with a client's key only to those who have the key.
  if (needsOrigin || hasCustomerKey(request.headers)) return passed(context, cache, { ref }, query);
  const { info } = await cache.ask({ kind: "stat", ref, version: undefined, checksums: true, principal, signal });
  // Another generation may exist, which the cache does not have.
  if (conditions.generation !== undefined && conditions.generation !== info.version)
    return passed(context, cache, { ref }, query);
  const verdict = judgeJson(conditions, info);
  if (verdict === "failed")
    throw new CacheError("FAILED_PRECONDITION", `${ref.url}: a condition of the request is not fulfilled`);
  if (verdict === "same") return { status: 304, headers: [], body: Buffer.alloc(0) };
  return jsonDocument(objectResource(ref, info));
}

/**
 * An object's bytes, by the same code as GetObject, where generations are ETags. The record is asked for first if the request names a
 * generation, has conditions on the metageneration, or does not accept gzip: the bytes of the current generation are cached under the
 * object's own name, and an object that is stored compressed may have to be decompressed.
 */
function answerMedia(context: HttpContext, cache: Cache, ref: ObjectRef, conditions: JsonConditions): void {
  const { generation, ifGenerationMatch, ifGenerationNotMatch, ifMetagenerationMatch, ifMetagenerationNotMatch } = conditions;
  const path = encodeURIComponent(ref.key);
  const current = objectTarget("gs", ref.bucket, path, NO_QUERY);
  const given = { match: ifGenerationMatch, noneMatch: ifGenerationNotMatch };
  const hasVersion = (generation ?? ifMetagenerationMatch ?? ifMetagenerationNotMatch) !== undefined;
  const takesStored = acceptsGzip(context.request) || hasCustomerKey(context.request.headers);
  if (!hasVersion && takesStored) {
    sendMedia(context, cache, current, given);
    return;
  }
  const { principal, signal } = context;
  const record = (of: ObjectRef) => cache.ask({ kind: "stat", ref: of, version: undefined, principal, signal });
  const fail = (error: unknown): void => answer(context, "objects.get", ref.url, () => Promise.reject(error));
  const send = (target: ObjectTarget, info: ObjectInfo, media: MediaConditions): void => {
    const verdict = judgeJson(conditions, info);
    if (takesStored || verdict !== "ok" || !isDecompressed(info)) sendMedia(context, cache, target, media);
    else answerDecompressed(context, cache, target.ref, info);
  };
  const old = (): void => {
    const target = objectTarget("gs", ref.bucket, path, new Query(`generation=${generation}`));
    if (takesStored) sendMedia(context, cache, target, given);
    else record(target.ref).then(({ info }) => send(target, info, given), fail);
  };
  record(ref).then(
    ({ info }) => {
      if (generation !== undefined && generation !== info.version) {
        old();
        return;
      }
      const verdict = judgeJson(conditions, info);
      if (verdict === "failed") refuse(context, 412, `${ref.url}: a condition of the request is not fulfilled`);
      else if (!hasVersion) send(current, info, given);
      else send(current, info, verdict === "same" ? { noneMatch: info.version } : { match: info.version });
    },
    (error: unknown) => {
      // An object that was deleted may have older generations.
      if (generation !== undefined && CacheError.from(error).code === "NOT_FOUND") old();
      else fail(error);
    },
  );
}

/** Generations for If-Match and If-None-Match. */
interface MediaConditions {
  readonly match?: string | undefined;
  readonly noneMatch?: string | undefined;
}

function sendMedia(context: HttpContext, cache: Cache, target: ObjectTarget, { match, noneMatch }: MediaConditions): void {
  // Google's library for Node sends no-store with each read.
  const { method, url, httpVersion, headers: given } = context.request;
  const { "cache-control": _, ...received } = given;
  const headers: IncomingHttpHeaders = {
    ...received,
    "x-amz-checksum-mode": "ENABLED",
    ...(match !== undefined && { "if-match": `"${match}"` }),
    ...(noneMatch !== undefined && { "if-none-match": `"${noneMatch}"` }),
  };
  const ofMedia = { ...context, request: { method, url, httpVersion, headers } };
  answerOperation(ofMedia, cache, method === "HEAD" ? "HeadObject" : "GetObject", target);
}

async function bucketList(context: HttpContext, cache: Cache, query: Query): Promise<Document> {
  const { principal, signal } = context;
  const ref = { url: "gs://", scheme: "gs", bucket: "" } as const;
  const project = query.get("project") || undefined;
  const { buckets } = await cache.ask({ kind: "listBuckets", ref, project, principal, signal });
  const prefix = query.get("prefix") ?? "";
  const items = buckets.flatMap(({ name, createdMs, region }) =>
    name.startsWith(prefix)
      ? [
          {
            kind: "storage#bucket",
            id: name,
            name,
            ...(createdMs !== undefined && { timeCreated: new Date(createdMs).toISOString() }),
            ...(region !== undefined && { location: region }),
          },
        ]
      : [],
  );
  return jsonDocument({ kind: "storage#buckets", ...(items.length > 0 && { items }) });
}

/** The origin's own answer. */
async function passed(
  { request, principal, signal }: HttpContext,
  cache: Cache,
  of: Pick<PassQuestion, "ref" | "collection">,
  query: Query,
): Promise<Document> {
  const sent = hasCustomerKey(request.headers) ? customerKeyHeaders(request.headers) : [];
  if ("status" in sent) throw new CacheError("INVALID_ARGUMENT", sent.message);
  const parameters = [...query.names()].map((name): [string, string] => [name, query.get(name)!]);
  const question: PassQuestion = { kind: "pass", ...of, method: "GET", query: parameters, headers: sent, principal, signal };
  const { status, headers, ...rest } = await cache.ask(question);
  const body = await wholeBody({ status, headers, ...rest }, question, MAX_DOCUMENT_BYTES);
  const isBucket = question.collection === undefined && !("key" in question.ref);
  return {
    status,
    headers: [...headers.flat(), "X-Cache", "BYPASS"],
    body: status === 200 && !isBucket ? withoutMediaLinks(body) : body,
  };
}

/**
 * Removes the links to objects' bytes, which lead to the origin: Google's library for Python would read them there. Without a link, it
 * uses its endpoint.
 */
function withoutMediaLinks(body: Buffer): Buffer {
  if (!body.includes('"mediaLink"')) return body;
  try {
    const answer = JSON.parse(body.toString()) as { mediaLink?: string; items?: { mediaLink?: string }[] };
    for (const resource of [answer, ...(answer.items ?? [])]) delete resource.mediaLink;
    return Buffer.from(JSON.stringify(answer));
  } catch {
    // Not GCS's JSON: the client judges it.
    return body;
  }
}

function jsonDocument(value: object): Document {
  return { headers: ["Content-Type", JSON_TYPE], body: Buffer.from(JSON.stringify(value)) };
}

function refuse(context: HttpContext, status: number, message: string): void {
  const errorCode = status === 412 ? "FAILED_PRECONDITION" : "INVALID_ARGUMENT";
  sendError(context, { status, code: "", errorCode, message }, "");
}
