import type { ObjectRef } from "@frontcache/proto";
import type { PassQuestion } from "../../origin/origin.js";
import { wholeBody } from "../../origin/passed-body.js";
import type { Cache } from "../../routing/cache.js";
import type { HttpContext } from "../http/http-context.js";
import { aboutBucket, answerDocument, type Document } from "./document-answer.js";
import { notImplemented, sendError } from "./error-response.js";
import type { Operation } from "./operations.js";
import type { Query } from "./query.js";
import type { BucketTarget, ObjectTarget } from "./request-target.js";

/** More than a thousand versions, or parts, with names of 1,024 bytes that are escaped. */
const MAX_DOCUMENT_BYTES = 16 << 20;

/** Parameters of signatures, which are the client's own, and a parameter by which SDKs name the operation for people. */
const NOT_PASSED = /^(?:x-amz-(?!optional)[a-z-]+|x-id|AWSAccessKeyId|Signature|Expires)$/i;

/** Headers of S3 that tell what is requested. Others are the client's, or are set for the origin by this member. */
const PASSED_HEADER = /^x-amz-(?!date$|security-token$|content-sha256$|user-agent$|decoded-|trailer$)/;

/** Headers of the origin's answer that this member sets itself. */
const NOT_ANSWERED = /^(?:date|server|x-amz-request-id|x-amz-id-2|content-length|content-encoding|transfer-encoding)$/;

/** Answers an operation with the origin's own answer, whatever its status. Never throws. */
export function answerPassed(
  context: HttpContext,
  cache: Cache,
  target: BucketTarget | ObjectTarget,
  operation: Operation,
): void {
  const { ref, scope } = target;
  const resource = scope === "object" ? `/${ref.bucket}/${ref.key}` : `/${ref.bucket}`;
  if (ref.scheme !== "s3") {
    sendError(context, notImplemented(operation), resource);
    return;
  }
  const change = scope === "bucket" ? aboutBucket : undefined;
  answerDocument(context, { operation, url: ref.url, resource }, () => passOn(context, cache, target), change);
}

/** The origin's own answer to a request that is sent with this member's credentials. */
export async function passOn(
  { request, principal, signal }: HttpContext,
  cache: Cache,
  { ref, query }: BucketTarget | ObjectTarget,
): Promise<Document & { readonly status: number }> {
  const question: PassQuestion = {
    kind: "pass",
    ref: "key" in ref ? withoutVersion(ref, query) : ref,
    method: request.method === "HEAD" ? "HEAD" : "GET",
    query: passedQuery(query),
    headers: Object.entries(request.headers).flatMap(([name, value]) =>
      PASSED_HEADER.test(name) && typeof value === "string" ? [[name, value] as const] : [],
    ),
    principal,
    signal,
  };
  const answer = await cache.ask(question);
  const body = await wholeBody(answer, question, MAX_DOCUMENT_BYTES);
  const headers = answer.headers.flatMap(([name, value]) => (NOT_ANSWERED.test(name) ? [] : [name, value]));
  return { status: answer.status, headers: [...headers, "X-Cache", "BYPASS"], body };
}

/** The version is a parameter of the request, not a part of the key. */
function withoutVersion(ref: ObjectRef, query: Query): ObjectRef {
  const versionId = query.get("versionId");
  if (versionId === undefined) return ref;
  const ending = `?versionId=${versionId}`;
  const cut = (text: string): string => (text.endsWith(ending) ? text.slice(0, -ending.length) : text);
  return { ...ref, url: cut(ref.url), key: cut(ref.key) };
}

function passedQuery(query: Query): [name: string, value: string][] {
  const passed: [string, string][] = [];
  for (const name of query.names()) if (!NOT_PASSED.test(name)) passed.push([name, query.get(name)!]);
  return passed;
}
