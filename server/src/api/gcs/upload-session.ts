import { CacheError, type ObjectRef, parseObjectUrl } from "@frontcache/proto";
import type { JsonMethod, WriteAnswer } from "../../origin/origin.js";
import type { Query } from "../../runtime/query.js";
import type { VerifiedBody } from "../../writes/payload.js";
import type { Document } from "../s3/document-answer.js";
import { receivedBytes } from "../s3/writes/received-body.js";
import { type ContentRange, contentRangeOf } from "./content-range.js";
import { documentHeaders, documentIn, jsonDocumentOf, jsonHeaders, parametersIn, principalOf } from "./json-requests.js";
import {
  checkedGrants,
  declaredLength,
  expectedChecksums,
  type JsonUpload,
  noChecksums,
  textIn,
  uploadedBody,
  uploadedObject,
} from "./uploaded-body.js";
import { parseResource } from "./written-resource.js";

/** The parameter in the address of an upload session that proves which object it writes, and for whom. */
const SIGNATURE_PARAMETER = "frontcache-signature";

/** The parameters of uploads. */
const INSERT =
  /^(?:alt|fields|prettyPrint|projection|userProject|quotaUser|\$\..+|uploadType|name|contentEncoding|kmsKeyName|predefinedAcl|if(?:Metag|G)eneration(?:Not)?Match)$/;

/** The parameters of an upload, with the name of its object, which would otherwise be the one that GCS finds in the metadata. */
export function namedParameters(query: Query, { key }: ObjectRef): [name: string, value: string][] {
  return [...parametersIn(query, INSERT).filter(([name]) => name !== "name"), ["name", key]];
}

/** The parameters of a session's address are GCS's own. */
const SESSION = /^[\w.$-]{1,64}$/;

const UPLOAD: JsonMethod = { kind: "upload" };

/** Begins a session. Its address leads to this endpoint: GCS's own would lead past it. */
export async function beginSession(request: JsonUpload): Promise<Document> {
  const { context, upload, cache, bucket, query } = request;
  const { resource, document } = await documentIn(context, upload);
  const ref = uploadedObject(bucket, query.get("name") ?? textIn(resource, "name"));
  const grants = checkedGrants(context, ref, query, resource);
  const answer = await cache.ask({
    kind: "write",
    ref,
    method: "POST",
    json: UPLOAD,
    query: namedParameters(query, ref),
    headers: documentHeaders(context, document),
    grants,
    changes: [],
    body: document,
    mayRepeat: false,
    ...principalOf(context),
  });
  const { headers } = answer;
  const location = headers.find(([name]) => name === "location")?.[1];
  if (location === undefined) return jsonDocumentOf(answer);
  const own = sessionAddress(request, ref, location);
  return jsonDocumentOf({ ...answer, headers: [...headers.filter(([name]) => name !== "location"), ["location", own]] });
}

/** The address of GCS's session at this endpoint. */
function sessionAddress({ context, upload }: JsonUpload, ref: ObjectRef, location: string): string {
  const { request, principal } = context;
  const { body, sessions } = upload;
  const { bucket, key, url } = ref;
  const { searchParams } = new URL(location, "http://gcs");
  searchParams.set("name", key);
  const id = searchParams.get("upload_id") ?? "";
  if (sessions !== undefined) searchParams.set(SIGNATURE_PARAMETER, sessions.sign({ url, principal: principal.name, id }));
  // Behind a proxy that ends TLS, only its header says how the client has connected.
  const isSecure = "encrypted" in body.socket || request.headers["x-forwarded-proto"] === "https";
  const path = `/upload/storage/v1/b/${encodeURIComponent(bucket)}/o?${searchParams}`;
  return `${isSecure ? "https" : "http"}://${request.headers.host ?? ""}${path}`;
}

/** A request to a session: a part of the object, a question how much GCS has, or the end of the session. GCS has all state. */
export class UploadSession {
  readonly #request: JsonUpload;
  readonly #ref: ObjectRef;

  constructor(request: JsonUpload) {
    this.#request = request;
    this.#ref = uploadedObject(request.bucket, request.query.get("name"));
  }

  async run(): Promise<Document> {
    const { context, cache } = this.#request;
    const { method, headers } = context.request;
    if (method !== "PUT" && method !== "DELETE" && method !== "POST") throw invalid(`an upload session does not know ${method}`);
    const range = method === "DELETE" ? undefined : contentRangeOf(headers["content-range"]);
    const grants = checkedGrants(context, this.#ref, this.#request.query, undefined);
    this.#checkSignature();
    const query = parametersIn(this.#request.query, SESSION).filter(([name]) => name !== SIGNATURE_PARAMETER);
    const answer = await cache.ask({
      kind: "write",
      ref: this.#ref,
      method,
      json: UPLOAD,
      query,
      headers: jsonHeaders(context),
      grants,
      changes: range?.mayComplete === true ? [this.#ref] : [],
      body: range === undefined ? Buffer.alloc(0) : await this.#body(range),
      isWholeObject: range?.isWhole,
      mayRepeat: method === "PUT",
      ...principalOf(context),
    });
    await this.#confirmOther(answer);
    return jsonDocumentOf(answer);
  }

  /** Denies a session of another object, or of another principal, although the grants allow to write the object that its address names. */
  #checkSignature(): void {
    const { context, upload, query } = this.#request;
    const { principal, authorization } = context;
    const { url } = this.#ref;
    const session = { url, principal: principal.name, id: query.get("upload_id") ?? "" };
    const verdict = upload.sessions?.verify(query.get(SIGNATURE_PARAMETER), session) ?? "valid";
    if (verdict === "valid") return;
    if (verdict === "wrong" && authorization !== undefined) {
      const reason = "the address of the upload session was changed, or another principal has begun the session";
      authorization.refuse({ principal, operation: "write", subject: url }, reason);
    }
    throw new CacheError("NOT_FOUND", `${url}: members do not know this upload session any more: begin a new one`);
  }

  async #body({ isWhole, length }: ContentRange): Promise<VerifiedBody> {
    const { context, upload } = this.#request;
    const declared = declaredLength(context);
    if (declared !== undefined && length !== undefined && declared !== length)
      throw invalid("Content-Range and Content-Length name different lengths");
    // The hash in the header is that of the whole object, which GCS verifies if it has arrived in several requests.
    const checksums = isWhole ? expectedChecksums(context, undefined) : noChecksums();
    return uploadedBody(receivedBytes(upload, context), declared ?? length, checksums);
  }

  /** The object of a session is the one that the client named when it began, whatever an unsigned address says now. */
  async #confirmOther({ status, body }: WriteAnswer): Promise<void> {
    const { name, bucket } = (status === 200 ? parseResource(body) : undefined) ?? {};
    if (typeof name !== "string" || typeof bucket !== "string" || name === this.#ref.key) return;
    const ref = parseObjectUrl(`gs://${this.#ref.bucket}/${name}`);
    const { context, cache } = this.#request;
    await cache.ask({ kind: "stat", ref, version: undefined, confirmed: true, ...principalOf(context) }).catch(() => {}); // a principal that may not read it gets nothing stale either
  }
}

function invalid(message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", message);
}
