import { CacheError, type ObjectRef } from "@frontcache/proto";
import type { JsonMethod } from "../../origin/origin.js";
import type { VerifiedBody } from "../../writes/payload.js";
import type { RequiredGrant } from "../../writes/write-through.js";
import type { Document } from "../s3/document-answer.js";
import { receivedBytes } from "../s3/writes/received-body.js";
import { jsonDocumentOf, jsonHeaders, principalOf } from "./json-requests.js";
import { readRelated } from "./related-body.js";
import { beginSession, namedParameters, UploadSession } from "./upload-session.js";
import {
  checkedGrants,
  declaredLength,
  expectedChecksums,
  isPrivate,
  type JsonUpload,
  textIn,
  uploadedBody,
  uploadedObject,
} from "./uploaded-body.js";
import { type Resource, writtenResource } from "./written-resource.js";

const UPLOAD: JsonMethod = { kind: "upload" };

/** Uploads an object, or a part of it, to a bucket by the JSON API. */
export async function uploadObject(request: JsonUpload): Promise<Document> {
  const { context, query } = request;
  const { method } = context.request;
  if (query.has("upload_id")) return new UploadSession(request).run();
  if (method !== "POST") throw invalid(`${method} needs the address of an upload session`);
  switch (query.get("uploadType")) {
    case "media":
      return uploadMedia(request);
    case "multipart":
      return uploadRelated(request);
    case "resumable":
      return beginSession(request);
    default:
      throw invalid("uploadType must be media, multipart or resumable");
  }
}

/** The body is the object. */
async function uploadMedia(request: JsonUpload): Promise<Document> {
  const { context, upload, bucket, query } = request;
  const ref = uploadedObject(bucket, query.get("name"));
  const grants = checkedGrants(context, ref, query, undefined);
  const body = await uploadedBody(receivedBytes(upload, context), declaredLength(context), expectedChecksums(context, undefined));
  return insert(request, { ref, grants, body, json: UPLOAD, headers: jsonHeaders(context), resource: undefined });
}

/** The body is the object's metadata and the object. */
async function uploadRelated(request: JsonUpload): Promise<Document> {
  const { context, upload, bucket, query } = request;
  const { headers } = context.request;
  if (headers["content-md5"] !== undefined)
    throw invalid("Content-MD5 of a multipart upload is not verified: use md5Hash in the metadata");
  const { part, content } = await readRelated(receivedBytes(upload, context), headers["content-type"]);
  const { resource, document } = writtenResource(part.document);
  const ref = uploadedObject(bucket, query.get("name") ?? textIn(resource, "name"));
  const grants = checkedGrants(context, ref, query, resource);
  const body = await uploadedBody(content, undefined, expectedChecksums(context, resource));
  const json = { kind: "upload", related: { ...part, document } } as const;
  return insert(request, { ref, grants, body, json, headers: jsonHeaders(context), resource });
}

interface Insertion {
  readonly ref: ObjectRef;
  readonly grants: readonly RequiredGrant[];
  readonly body: VerifiedBody;
  readonly json: JsonMethod;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly resource: Resource | undefined;
}

async function insert({ context, cache, query }: JsonUpload, insertion: Insertion): Promise<Document> {
  const { ref, grants, body, json, headers, resource } = insertion;
  const answer = await cache.ask({
    kind: "write",
    ref,
    method: "POST",
    json,
    query: namedParameters(query, ref),
    headers,
    grants,
    changes: [ref],
    body,
    isWholeObject: !isPrivate(resource),
    mayRepeat: false,
    ...principalOf(context),
  });
  return jsonDocumentOf(answer);
}

function invalid(message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", message);
}
