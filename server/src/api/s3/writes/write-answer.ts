import { type BucketRef, CacheError, type ObjectRef } from "@frontcache/proto";
import type { WriteRequest } from "../../../origin/origin.js";
import type { Cache } from "../../../routing/cache.js";
import { AccessDenied } from "../../../security/grants/authorization.js";
import { Payload } from "../../../writes/payload.js";
import { OutcomeUnknown, type RequiredGrant, type WriteQuestion } from "../../../writes/write-through.js";
import type { HttpContext, Upload } from "../../http/http-context.js";
import { closeBehindUnreadBody } from "../../http/unread-body.js";
import { aboutBucket, answerDocument, type Document, type ErrorChange, type Subject } from "../document-answer.js";
import { type ErrorResponse, notImplemented } from "../error-response.js";
import { postObject } from "../forms/post-object.js";
import type { ObjectOperation, Operation } from "../operations.js";
import type { BucketTarget, ObjectTarget, S3Target } from "../request-target.js";
import { copySource } from "./copy-source.js";
import { deleteObjects } from "./delete-objects.js";
import { receivedBytes } from "./received-body.js";
import { documentOf, OUTCOME_UNKNOWN } from "./write-document.js";
import { writeHeaders } from "./write-headers.js";
import { bucketWrite, objectWrites, type WriteOperation } from "./write-operations.js";

/** The longest document: 10,000 parts with checksums, or a thousand of the longest keys, escaped. */
const MAX_DOCUMENT_BYTES = 8 << 20;

/** Parameters that every operation may have: of SDKs, and of signatures. */
const IGNORED_PARAMETER =
  /^(?:x-id|X-Amz-(?:Algorithm|Credential|Date|Expires|SignedHeaders|Signature|Security-Token|Content-Sha256|User-Agent)|AWSAccessKeyId|Signature|Expires)$/i;

/** Parameters of an object's operations that say what is written. */
const OBJECT_PARAMETER = /^(?:uploadId|partNumber|uploads|versionId|tagging|acl|legal-hold|retention|restore|encryption)$/;

/** Answers an operation that changes something, with the origin's own answer. Never throws. */
export function answerWrite(context: HttpContext, cache: Cache, target: S3Target, operation: Operation): void {
  const subject = { operation, url: urlOf(target), resource: resourceOf(target) };
  const change = target.scope === "bucket" ? aboutBucket : undefined;
  answerChange(
    context,
    subject,
    async (upload) => {
      if (target.scope === "service") throw notAllowed();
      return write(context, upload, cache, target, operation);
    },
    change,
    isLong(context, operation),
  );
}

/** Whether an object store may need minutes for an operation: it puts an object together, or copies one. */
function isLong({ request }: HttpContext, operation: Operation): boolean {
  if (operation === "CompleteMultipartUpload") return true;
  const mayCopy = operation === "PutObject" || operation === "UploadPart";
  return mayCopy && request.headers["x-amz-copy-source"] !== undefined;
}

/** Answers a request that changes something: counts it, records its failure, and says if its outcome is unknown. Never throws. */
export function answerChange(
  context: HttpContext,
  subject: Subject,
  make: (upload: Upload) => Promise<Document>,
  change?: ErrorChange,
  takesLong = false,
): void {
  const { upload, client } = context;
  const counted = async (): Promise<Document> => {
    const busy = client.beginRead();
    try {
      if (busy !== undefined) throw busy;
      if (upload === undefined) throw notAllowed();
      return await make(upload);
    } catch (error) {
      recordFailure(context, subject, error);
      // The rest of the body may never come.
      if (CacheError.from(error).s3Code === "RequestTimeout") context.response.setHeader("Connection", "close");
      throw error;
    } finally {
      if (busy === undefined) client.endRead();
      closeBehindUnreadBody(context);
    }
  };
  answerDocument(context, subject, counted, (error) => withOutcome(change?.(error) ?? error), takesLong);
}

function notAllowed(): CacheError {
  return refusal("MethodNotAllowed", "The specified method is not allowed.");
}

/** The operations on GCS's buckets and objects that are sent on. Its other interfaces have no form that S3's clients know. */
const OF_GCS: ReadonlySet<Operation> = new Set<Operation>([
  "PutObject",
  "PostObject",
  "DeleteObject",
  "DeleteObjects",
  "CreateMultipartUpload",
  "UploadPart",
  "CompleteMultipartUpload",
  "AbortMultipartUpload",
  "CreateBucket",
]);

/** The operation, sent to the origin. */
async function write(
  context: HttpContext,
  upload: Upload,
  cache: Cache,
  target: BucketTarget | ObjectTarget,
  operation: Operation,
): Promise<Document> {
  if (target.ref.scheme === "gs" && !OF_GCS.has(operation)) throw refusal("NotImplemented", notImplemented(operation).message);
  const method = context.request.method as WriteRequest["method"];
  if (operation === "PostObject" && target.scope === "bucket")
    return postObject(context, upload, payloadOf(context, upload), cache, target);
  if (operation === "DeleteObjects") return deleteObjects(context, cache, target.ref, payloadOf(context, upload));
  if (operation === "CreateBucket") await refuseExisting(context, cache, target.ref);
  const described = target.scope === "bucket" ? bucketWrite(method) : objectWrites[operation as ObjectOperation];
  if (described === undefined) throw refusal("NotImplemented", notImplemented(operation).message);
  const answer = await cache.ask(await questionOf(context, upload, target, described, method));
  return documentOf(answer);
}

async function questionOf(
  context: HttpContext,
  upload: Upload,
  target: BucketTarget | ObjectTarget,
  operation: WriteOperation,
  method: WriteRequest["method"],
): Promise<WriteQuestion> {
  const { request, principal, signal } = context;
  const ref = target.scope === "object" ? target.bare : target.ref;
  const copied = request.headers["x-amz-copy-source"];
  const source = operation.body === "object" && typeof copied === "string" ? copySource(copied, ref.scheme) : undefined;
  const isObject = operation.body === "object" && source === undefined;
  const { passed, administers, isConditional } = writeHeaders(request, ref.scheme);
  const grants: RequiredGrant[] = [{ operation: operation.grant, ref }];
  if (source !== undefined) grants.push({ operation: "read", ref: source });
  if (administers && operation.grant !== "admin") grants.push({ operation: "admin", ref });
  const sha256 = request.headers["x-amz-content-sha256"];
  return {
    kind: "write",
    ref,
    method,
    query: parametersOf(target),
    headers: passed,
    source,
    grants,
    changes: operation.changes === true && target.scope === "object" ? changedBy(target) : [],
    body: payloadOf(context, upload, operation),
    bodyLimit: isObject ? undefined : MAX_DOCUMENT_BYTES,
    sha256: typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256) ? sha256 : undefined,
    mayRepeat: method !== "POST" && !isConditional,
    principal,
    signal,
  };
}

function payloadOf(context: HttpContext, upload: Upload, operation?: WriteOperation): Payload {
  return new Payload({
    headers: context.request.headers,
    bytes: receivedBytes(upload, context),
    signatures: upload.signatures(),
    hasOtherChecksums: operation?.hasOtherChecksums,
  });
}

/**
 * Some clients create their bucket before they write to it, and continue if it exists. To a principal that may not create buckets, the
 * answer is that it exists, if the principal may know that.
 */
async function refuseExisting({ authorization, principal, signal }: HttpContext, cache: Cache, ref: BucketRef): Promise<void> {
  const mayCreate = authorization?.allows(principal, "admin", { bucket: ref, prefix: "" }) !== false;
  if (mayCreate ? ref.scheme !== "gs" : !authorization.seesBucket(principal, ref)) return;
  await cache.ask({ kind: "statBucket", ref, principal, signal });
  const message = "Your previous request to create the named bucket succeeded and you already own it.";
  throw new CacheError("INVALID_ARGUMENT", message, { s3Code: "BucketAlreadyOwnedByYou" });
}

/** The records that a write changes: that of the object, and that of the version that it names. */
function changedBy({ bare, ref }: ObjectTarget): ObjectRef[] {
  return ref.url === bare.url ? [bare] : [bare, ref];
}

/** The parameters that the origin gets. Throws S3's error for those that are unknown, and for a part that cannot be. */
function parametersOf({ scope, ref, query }: BucketTarget | ObjectTarget): [name: string, value: string][] {
  const parameters: [name: string, value: string][] = [];
  for (const name of query.names()) {
    if (name === "" || IGNORED_PARAMETER.test(name)) continue;
    if (scope === "object" && !OBJECT_PARAMETER.test(name) && !(ref.scheme === "gs" && name === "generation")) {
      throw refusal(
        "InvalidArgument",
        `The parameter ${JSON.stringify(name.slice(0, 100))} is not known for a request that writes.`,
      );
    }
    parameters.push([name, query.get(name)!]);
  }
  const part = query.get("partNumber");
  if (part !== undefined && (!/^\d{1,5}$/.test(part) || Number(part) < 1 || Number(part) > 10_000)) {
    throw refusal("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive");
  }
  return parameters;
}

function withOutcome(error: ErrorResponse): ErrorResponse {
  return error.code === "InternalError" && error.errorCode === "UNAVAILABLE"
    ? { ...error, headers: [...(error.headers ?? []), ...OUTCOME_UNKNOWN] }
    : error;
}

/** Denied requests have been recorded by whoever denied them. */
function recordFailure({ authorization, principal }: HttpContext, { operation, url: object }: Subject, error: unknown): void {
  if (error instanceof AccessDenied) return;
  const { code, message } = error instanceof OutcomeUnknown ? error : CacheError.from(error);
  const outcome = code === "UNAUTHENTICATED" ? "unauthenticated" : "failed";
  authorization?.audit?.record({ outcome, operation, object, principal, reason: message });
}

function urlOf(target: S3Target): string {
  return target.scope === "service" ? `${target.scheme}://` : target.scope === "object" ? target.bare.url : target.ref.url;
}

function resourceOf(target: S3Target): string {
  if (target.scope === "service") return "/";
  return target.scope === "object" ? `/${target.bare.bucket}/${target.bare.key}` : `/${target.ref.bucket}`;
}

function refusal(s3Code: "InvalidArgument" | "MethodNotAllowed" | "NotImplemented", message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", message, { s3Code });
}
