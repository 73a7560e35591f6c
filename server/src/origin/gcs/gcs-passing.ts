import { bodyBytes, type HttpResponse } from "@frontcache/client/http";
import { entityTagOf } from "@frontcache/proto";
import { ResponseBody } from "../http/response-body.js";
import type { PassedAnswer, PassQuestion } from "../origin.js";
import { bodyOf } from "../passed-body.js";
import { type GcsRefusal, gcsRefusal } from "./gcs-errors.js";
import { listedVersions } from "./gcs-listing.js";
import { bucketPath, objectPath, objectsPath } from "./gcs-paths.js";
import { xmlListingPath } from "./gcs-xml-listing.js";

export const JSON_TYPE = "application/json; charset=UTF-8";

/** More than a thousand names of 1,024 bytes and their objects' metadata, escaped. */
export const MAX_LISTING_BYTES = 16 << 20;

/** GCS's response, or its refusal. */
export type GcsSent =
  | { readonly response: HttpResponse }
  | { readonly refusal: GcsRefusal; readonly contentType: string | undefined };

/** Headers of an answer with an object's bytes that are not the object's: of the API, the connection and GCS's own tag. */
const NOT_OF_THE_OBJECT =
  /^(?:cache-control|expires|date|server|etag|pragma|vary|alt-svc|connection|keep-alive|te|trailer|transfer-encoding|upgrade|content-length|proxy-.*|x-guploader-.*)$/;

/**
 * GCS's own answer to a request that is passed on: metadata in JSON or a listing in XML whatever the status is, or with `alt=media` the
 * object's bytes as they arrive. Throws a CacheError if another request may succeed, and for all refusals of bytes. Bytes have the
 * generation as ETag.
 */
export async function passToGcs(
  question: PassQuestion,
  send: (path: string, headers: Record<string, string>) => Promise<GcsSent>,
): Promise<PassedAnswer> {
  const { collection, query, headers, method } = question;
  const isXml = collection === "uploads" || collection === "parts";
  const isMedia = !isXml && query.some(([name, value]) => name === "alt" && value === "media");
  // If gzip is not accepted, GCS decompresses objects that are stored compressed, and ignores the range.
  const sent = isXml
    ? await send(xmlListingPath(question, collection), {})
    : await send(jsonPath(question), { ...Object.fromEntries(headers), ...(isMedia && { "accept-encoding": "gzip" }) });
  const usualType = isXml ? "application/xml; charset=UTF-8" : JSON_TYPE;
  if ("refusal" in sent) return refused(question, sent.refusal, sent.contentType ?? usualType, isMedia);
  const { response } = sent;
  const { status, head } = response;
  if (isMedia) {
    const answered = [...head].filter(([name]) => !NOT_OF_THE_OBJECT.test(name));
    const generation = head.header("x-goog-generation");
    if (generation !== undefined) answered.push(["etag", entityTagOf(generation)]);
    if (method === "GET")
      return { status, headers: answered, length: head.contentLength, body: new ResponseBody(response, question) };
    response.body.destroy();
    if (head.contentLength !== undefined) answered.push(["content-length", String(head.contentLength)]);
    return { status, headers: answered, length: 0, body: bodyOf(Buffer.alloc(0)) };
  }
  const bytes = await bodyBytes(response.body, MAX_LISTING_BYTES, "cut");
  const hasOthers = query.some(([name, value]) => (name === "versions" || name === "softDeleted") && value === "true");
  const listed = collection === "objects" && !hasOthers ? listedVersions(bytes.toString()) : undefined;
  const type = head.header("content-type") ?? usualType;
  return { status, headers: [["content-type", type]], length: bytes.length, body: bodyOf(bytes), listed };
}

function jsonPath({ ref, query, collection }: PassQuestion): string {
  const parameters = new URLSearchParams(query.map(([name, value]): [string, string] => [name, value])).toString();
  if ("key" in ref) return objectPath(ref, parameters);
  return collection === "objects" ? objectsPath(ref, parameters) : `${bucketPath(ref)}?${parameters}`;
}

function refused(question: PassQuestion, refusal: GcsRefusal, contentType: string, isMedia: boolean): PassedAnswer {
  const { status, body } = refusal;
  if (status === 304) return { status, headers: [], length: 0, body: bodyOf(Buffer.alloc(0)) };
  const error = gcsRefusal(refusal, question);
  // What another request may remedy is not the store's answer.
  if (isMedia || error.retryable || status === 401) throw error;
  const bytes = Buffer.from(body);
  return { status, headers: [["content-type", contentType]], length: bytes.length, body: bodyOf(bytes) };
}
