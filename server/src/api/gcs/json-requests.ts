import { CacheError, type ObjectRef } from "@frontcache/proto";
import type { WriteAnswer } from "../../origin/origin.js";
import type { Query } from "../../runtime/query.js";
import type { RequiredGrant, WriteQuestion } from "../../writes/write-through.js";
import type { HttpContext, Upload } from "../http/http-context.js";
import type { Document } from "../s3/document-answer.js";
import { receivedBytes } from "../s3/writes/received-body.js";
import { documentOf } from "../s3/writes/write-document.js";
import {
  JSON_TYPE,
  parseResource,
  RESOURCE_FIELDS,
  type Resource,
  type WrittenResource,
  writtenResource,
} from "./written-resource.js";

/** The documents of single requests: metadata, or the names of 32 objects. */
const MAX_DOCUMENT_BYTES = 256 << 10;

/** Parameters that change who may do what. */
const ADMINISTERS = /^(?:predefinedAcl|destinationPredefinedAcl|overrideUnlockedRetention)$/;

/** A request's own document. Throws INVALID_ARGUMENT. */
export async function documentIn(context: HttpContext, upload: Upload): Promise<WrittenResource> {
  if (context.request.headers["content-encoding"] !== undefined)
    throw new CacheError("INVALID_ARGUMENT", "a compressed document is not read: send it as it is");
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of receivedBytes(upload, context)) {
    bytes += piece.length;
    if (bytes > MAX_DOCUMENT_BYTES)
      throw new CacheError("INVALID_ARGUMENT", `the document has more than ${MAX_DOCUMENT_BYTES} bytes`, {
        s3Code: "EntityTooLarge",
      });
    pieces.push(piece);
  }
  return writtenResource(Buffer.concat(pieces));
}

/** The grant that is required because the request changes who may do what. */
export function administered(ref: ObjectRef, query: Query, resource: Resource | undefined): RequiredGrant[] {
  const byQuery = [...query.names()].some((name) => ADMINISTERS.test(name));
  const byField = Object.keys(resource ?? {}).some((name) => !RESOURCE_FIELDS.has(name));
  return byQuery || byField ? [{ operation: "admin", ref }] : [];
}

/** The parameters that GCS gets. Throws INVALID_ARGUMENT for one that is not known. `key` is for Google's front end. */
export function parametersIn(query: Query, known: RegExp): [name: string, value: string][] {
  const names = [...query.names()].filter((name) => name !== "" && name !== "key");
  for (const name of names) {
    if (known.test(name)) continue;
    throw new CacheError(
      "INVALID_ARGUMENT",
      `the parameter ${JSON.stringify(name.slice(0, 100))} is not known for a request that writes`,
    );
  }
  return names.map((name) => [name, query.get(name)!]);
}

/** Headers of GCS's JSON API that it gets as they are. */
const PASSED =
  /^(?:content-(?:type|md5|range|encoding|language)|x-upload-content-(?:type|length)|x-guploader-no-308|if-(?:none-)?match|x-goog-(?:hash|encryption-.+|copy-source-encryption-.+|gcs-idempotency-token|api-client|request-reason|user-project))$/;

/** The headers that GCS gets. Throws INVALID_ARGUMENT for those that would change the request in a way that is not known here. */
export function jsonHeaders({ request }: HttpContext): [name: string, value: string][] {
  return Object.entries(request.headers).flatMap(([name, value]): [string, string][] => {
    if (typeof value === "string" && PASSED.test(name)) return [[name, value]];
    if (/^x-(?:goog|http-method|upload|guploader)-/.test(name))
      throw new CacheError("INVALID_ARGUMENT", `the header ${name} is not known for a request that writes`);
    return [];
  });
}

/** The same for a request whose document is sent as it was understood. */
export function documentHeaders(context: HttpContext, document: Uint8Array): [name: string, value: string][] {
  const others = jsonHeaders(context).filter(([name]) => name !== "content-type");
  return document.length === 0 ? others : [...others, ["content-type", JSON_TYPE]];
}

export function principalOf({ principal, signal }: HttpContext): Pick<WriteQuestion, "principal" | "signal"> {
  return { principal, signal };
}

/** GCS's answer. Links to the bytes of an object would lead past this member. */
export function jsonDocumentOf(answer: WriteAnswer): Document {
  const resource = answer.status === 200 ? parseResource(answer.body) : undefined;
  if (resource === undefined) return documentOf(answer);
  const { mediaLink, ...rest } = resource;
  if (mediaLink !== undefined) return documentOf({ ...answer, body: Buffer.from(JSON.stringify(rest)) });
  return documentOf(answer);
}
