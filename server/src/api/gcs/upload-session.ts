import { type BucketRef, CacheError, type ObjectRef, parseObjectUrl } from "@frontcache/proto";
import type { JsonMethod, WriteAnswer } from "../../origin/origin.js";
import type { Cache } from "../../routing/cache.js";
import type { Query } from "../../runtime/query.js";
import type { VerifiedBody } from "../../writes/payload.js";
import type { HttpContext, Upload } from "../http/http-context.js";
import type { Document } from "../s3/document-answer.js";
import { receivedBytes } from "../s3/writes/received-body.js";
import { type ContentRange, contentRangeOf } from "./content-range.js";
import { documentIn, jsonDocumentOf, jsonHeaders, parametersIn, principalOf } from "./json-requests.js";
import {
  checkedGrants,
  declaredLength,
  expectedChecksums,
  noChecksums,
  textIn,
  uploadedBody,
  uploadedObject,
} from "./uploaded-body.js";
import { parseResource } from "./written-resource.js";

/** The parameter in the address of an upload session that names the object, if GCS's own address does not. */
const OBJECT_PARAMETER = "frontcache-object";

/** The parameters of uploads. */
export const INSERT =
  /^(?:alt|fields|prettyPrint|projection|userProject|quotaUser|\$\..+|uploadType|name|contentEncoding|kmsKeyName|predefinedAcl|if(?:Metag|G)eneration(?:Not)?Match)$/;

/** The parameters of a session's address are GCS's own. */
const SESSION = /^[\w.$-]{1,64}$/;

const UPLOAD: JsonMethod = { kind: "upload" };

/** Begins a session. Its address leads to this endpoint: GCS's own would lead past it. */
export async function beginSession(
  context: HttpContext,
  upload: Upload,
  cache: Cache,
  bucket: BucketRef,
  query: Query,
): Promise<Document> {
  const body = await documentIn(context, upload);
  const resource = parseResource(body);
  const ref = uploadedObject(bucket, query.get("name") ?? textIn(resource, "name"));
  const grants = checkedGrants(context, ref, query, resource);
  const answer = await cache.ask({
    kind: "write",
    ref,
    method: "POST",
    json: UPLOAD,
    query: parametersIn(query, INSERT),
    headers: jsonHeaders(context),
    grants,
    changes: [],
    body,
    mayRepeat: false,
    ...principalOf(context),
  });
  const { headers } = answer;
  const location = headers.find(([name]) => name === "location")?.[1];
  if (location === undefined) return jsonDocumentOf(answer);
  const own = sessionAddress(context, upload, ref, location);
  return jsonDocumentOf({ ...answer, headers: [...headers.filter(([name]) => name !== "location"), ["location", own]] });
}

/** The address of GCS's session at this endpoint. */
function sessionAddress({ request }: HttpContext, { body }: Upload, { bucket, key }: ObjectRef, location: string): string {
  const { searchParams } = new URL(location, "http://gcs");
  if (!searchParams.has("name")) searchParams.set(OBJECT_PARAMETER, key);
  // Behind a proxy that ends TLS, only its header says how the client has connected.
  const isSecure = "encrypted" in body.socket || request.headers["x-forwarded-proto"] === "https";
  const path = `/upload/storage/v1/b/${encodeURIComponent(bucket)}/o?${searchParams}`;
  return `${isSecure ? "https" : "http"}://${request.headers.host ?? ""}${path}`;
}

/** A request to a session: a part of the object, a question how much GCS has, or the end of the session. GCS has all state. */
export function continueSession(
  context: HttpContext,
  upload: Upload,
  cache: Cache,
  bucket: BucketRef,
  query: Query,
): Promise<Document> {
  return new UploadSession(context, upload, cache, bucket, query).run();
}

class UploadSession {
  readonly #context: HttpContext;
  readonly #upload: Upload;
  readonly #cache: Cache;
  readonly #query: Query;
  readonly #ref: ObjectRef;

  constructor(context: HttpContext, upload: Upload, cache: Cache, bucket: BucketRef, query: Query) {
    this.#context = context;
    this.#upload = upload;
    this.#cache = cache;
    this.#query = query;
    this.#ref = uploadedObject(bucket, query.get(OBJECT_PARAMETER) ?? query.get("name"));
  }

  async run(): Promise<Document> {
    const { method } = this.#context.request;
    if (method !== "PUT" && method !== "DELETE" && method !== "POST") throw invalid(`an upload session does not know ${method}`);
    const range = method === "DELETE" ? undefined : contentRangeOf(this.#context.request.headers["content-range"]);
    const grants = checkedGrants(this.#context, this.#ref, this.#query, undefined);
    const query = parametersIn(this.#query, SESSION).filter(([name]) => name !== OBJECT_PARAMETER);
    const answer = await this.#cache.ask({
      kind: "write",
      ref: this.#ref,
      method,
      json: UPLOAD,
      query,
      headers: jsonHeaders(this.#context),
      grants,
      changes: range?.mayComplete === true ? [this.#ref] : [],
      body: range === undefined ? Buffer.alloc(0) : await this.#body(range),
      isWholeObject: range?.isWhole,
      mayRepeat: method === "PUT",
      ...principalOf(this.#context),
    });
    await this.#confirmOther(answer);
    return jsonDocumentOf(answer);
  }

  async #body({ isWhole, length }: ContentRange): Promise<VerifiedBody> {
    const declared = declaredLength(this.#context);
    if (declared !== undefined && length !== undefined && declared !== length)
      throw invalid("Content-Range and Content-Length name different lengths");
    // The hash in the header is that of the whole object, which GCS verifies if it has arrived in several requests.
    const checksums = isWhole ? expectedChecksums(this.#context, undefined) : noChecksums();
    return uploadedBody(receivedBytes(this.#upload, this.#context), declared ?? length, checksums);
  }

  /** The object of a session is the one that the client named when it began, whatever its address says now. */
  async #confirmOther({ status, body }: WriteAnswer): Promise<void> {
    const { name, bucket } = (status === 200 ? parseResource(body) : undefined) ?? {};
    if (typeof name !== "string" || typeof bucket !== "string" || name === this.#ref.key) return;
    const ref = parseObjectUrl(`gs://${this.#ref.bucket}/${name}`);
    await this.#cache
      .ask({ kind: "stat", ref, version: undefined, confirmed: true, ...principalOf(this.#context) })
      .catch(() => {}); // a principal that may not read it gets nothing stale either
  }
}

function invalid(message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", message);
}
