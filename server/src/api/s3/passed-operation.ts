import type { PassQuestion } from "../../origin/origin.js";
import { wholeBody } from "../../origin/passed-body.js";
import type { Cache } from "../../routing/cache.js";
import type { HttpContext } from "../http/http-context.js";
import { aboutBucket, answerDocument, type Document } from "./document-answer.js";
import { notImplemented, sendError } from "./error-response.js";
import type { Operation } from "./operations.js";
import { passedHeaders, passedParameters } from "./passed-answer.js";
import type { BucketTarget, ObjectTarget } from "./request-target.js";

/** More than a thousand versions, or parts, with names of 1,024 bytes that are escaped. */
const MAX_DOCUMENT_BYTES = 16 << 20;

/** Headers of the origin's answer that this member sets itself. */
const NOT_ANSWERED = /^(?:date|server|x-amz-request-id|x-amz-id-2|content-length|content-encoding|transfer-encoding)$/;

/** The operations that GCS's XML API has, too, and what they list. */
const LISTED_BY_GCS: { readonly [Each in Operation]?: "uploads" | "parts" } = {
  ListMultipartUploads: "uploads",
  ListParts: "parts",
};

/** Answers an operation with the origin's own answer, whatever its status. Never throws. */
export function answerPassed(
  context: HttpContext,
  cache: Cache,
  target: BucketTarget | ObjectTarget,
  operation: Operation,
): void {
  const { ref, scope } = target;
  const resource = scope === "object" ? `/${ref.bucket}/${ref.key}` : `/${ref.bucket}`;
  const collection = ref.scheme === "gs" ? LISTED_BY_GCS[operation] : undefined;
  if (ref.scheme !== "s3" && collection === undefined) {
    sendError(context, notImplemented(operation), resource);
    return;
  }
  const change = scope === "bucket" ? aboutBucket : undefined;
  answerDocument(context, { operation, url: ref.url, resource }, () => passOn(context, cache, target, collection), change);
}

/** The origin's own answer to a request that is sent with this member's credentials. `collection`: as in PassQuestion. */
export async function passOn(
  { request, principal, signal }: HttpContext,
  cache: Cache,
  target: BucketTarget | ObjectTarget,
  collection?: PassQuestion["collection"],
): Promise<Document & { readonly status: number }> {
  const question: PassQuestion = {
    kind: "pass",
    // The version is a parameter of the request, not a part of the key.
    ref: target.scope === "object" ? target.bare : target.ref,
    collection,
    method: request.method === "HEAD" ? "HEAD" : "GET",
    query: passedParameters(target.query),
    headers: passedHeaders({ request }),
    principal,
    signal,
  };
  const answer = await cache.ask(question);
  const body = await wholeBody(answer, question, MAX_DOCUMENT_BYTES);
  const headers = answer.headers.flatMap(([name, value]) => (NOT_ANSWERED.test(name) ? [] : [name, value]));
  return { status: answer.status, headers: [...headers, "X-Cache", "BYPASS"], body };
}
