import { createHash } from "node:crypto";
import { CacheError, entityTagOf } from "@frontcache/proto";
import { NotWritten, type WriteAnswer, type WriteRequest } from "../origin.js";
import type { SentWrite } from "../sent-write.js";
import { noEquivalent } from "./gcs-errors.js";
import type { GcsWrite } from "./gcs-json-write.js";
import { xmlPath } from "./gcs-paths.js";

type Header = readonly [name: string, value: string];

/** Headers that both stores have. */
const SAME = /^(?:content-(?:type|language|disposition|encoding|md5)|cache-control|x-goog-.+)$/;

/** Headers of which GCS keeps nothing, and needs nothing: what they say about a body is verified before. */
const VERIFIED = /^x-amz-(?:sdk-checksum-algorithm|checksum-algorithm|checksum-(?:crc32|crc64nvme|sha1|sha256))$/;

/** S3's names of conditions on the source of a copy, whose ETags are generations. */
const SOURCE_CONDITIONS: Readonly<Record<string, string>> = {
  "x-amz-copy-source-if-match": "x-goog-copy-source-if-generation-match",
  "x-amz-copy-source-if-modified-since": "x-goog-copy-source-if-modified-since",
  "x-amz-copy-source-if-unmodified-since": "x-goog-copy-source-if-unmodified-since",
};

const STORAGE_CLASSES = /^(?:STANDARD|NEARLINE|COLDLINE|ARCHIVE)$/;
const CANNED_ACLS = /^(?:private|public-read|public-read-write|authenticated-read|bucket-owner-read|bucket-owner-full-control)$/;

/**
 * A write in S3's form as a request of GCS's XML API, which has the same operations. Each header keeps its meaning, or the write is
 * refused by the name of the header. ETags of objects are generations. Throws NotWritten.
 */
export function xmlWrite(request: WriteRequest, sent: SentWrite): GcsWrite {
  const { ref, body, method } = request;
  const operation = operationOf(request);
  const headers = request.headers.flatMap(([name, value]) => headersOf(name, value, operation));
  const query = request.query.map(([name, value]) => [name === "versionId" ? "generation" : name, value] as const);
  const path = xmlPath(ref, query);
  if (!(body instanceof Uint8Array)) {
    const length: Header = ["content-length", String(body.length)];
    return { path, headers: [...headers, length], body: sent.begin() };
  }
  const document = operation === "complete" ? withoutChecksums(body) : body;
  if (operation === "delete objects" && /<(?:\w+:)?(?:ETag|LastModifiedTime|Size)\b/.test(Buffer.from(body).toString("latin1")))
    throw refused("conditions of single objects in a DeleteObjects request");
  const hasBody = method !== "DELETE";
  const length: Header[] = hasBody ? [["content-length", String(document.length)]] : [];
  const all = document === body ? headers : headers.map((each) => (each[0] === "content-md5" ? md5Of(document) : each));
  return { path, headers: [...all, ...length], body: sent.begin(document) };
}

type XmlOperation = "put" | "copy" | "part" | "create" | "complete" | "abort" | "delete" | "delete objects";

function operationOf({ ref, method, query, source }: WriteRequest): XmlOperation {
  const has = (name: string): boolean => query.some(([each]) => each === name);
  if (!("key" in ref)) {
    if (method === "POST" && has("delete")) return "delete objects";
    throw refused("changing buckets");
  }
  const other = query.find(([name]) => !/^(?:uploadId|partNumber|uploads|versionId|generation)$/.test(name));
  if (other !== undefined) throw refused(`the sub-resource ${other[0]}`);
  if (method === "POST") {
    if (has("uploads")) return "create";
    if (has("uploadId")) return "complete";
    throw refused("this request");
  }
  if (method === "DELETE") return has("uploadId") ? "abort" : "delete";
  if (!has("uploadId")) return source === undefined ? "put" : "copy";
  if (source !== undefined) throw refused("UploadPartCopy");
  return "part";
}

/** The headers of GCS that mean the same as one of S3. */
function headersOf(name: string, value: string, operation: XmlOperation): Header[] {
  if (SAME.test(name)) return [[name, value]];
  if (name.startsWith("x-amz-meta-")) return [[`x-goog-meta-${name.slice("x-amz-meta-".length)}`, value]];
  if (operation !== "complete" && VERIFIED.test(name)) return [];
  if (operation === "create" && name === "x-amz-checksum-type") return [];
  const condition = SOURCE_CONDITIONS[name];
  if (condition !== undefined) return [[condition, name.endsWith("-match") ? generationOf(value) : value]];
  switch (name) {
    case "if-none-match":
      if (value !== "*") throw refused("If-None-Match other than *");
      checkConditional(operation, name);
      return [["x-goog-if-generation-match", "0"]];
    case "if-match":
      checkConditional(operation, name);
      return [["x-goog-if-generation-match", generationOf(value)]];
    case "x-amz-checksum-crc32c":
      if (operation === "complete") break;
      return [["x-goog-hash", `crc32c=${value}`]];
    case "x-amz-storage-class":
      if (!STORAGE_CLASSES.test(value)) throw refused(`the storage class ${value.slice(0, 100)}`);
      return [["x-goog-storage-class", value]];
    case "x-amz-acl":
      if (!CANNED_ACLS.test(value)) throw refused(`x-amz-acl: ${value.slice(0, 100)}`);
      return [["x-goog-acl", value]];
    case "x-amz-copy-source":
      return copySource(value);
    case "x-amz-metadata-directive":
      return [["x-goog-metadata-directive", value]];
  }
  throw refused(`the header ${name}`);
}

/** GCS does not know conditions of uploads in parts. */
function checkConditional(operation: XmlOperation, name: string): void {
  if (operation !== "put" && operation !== "copy" && operation !== "delete")
    throw refused(`the header ${name} of an upload in parts`);
}

function copySource(value: string): Header[] {
  const [, source = value, version] = /^(.*?)(?:\?(?:versionId|generation)=(\d+))?$/s.exec(value) ?? [];
  const named: Header = ["x-goog-copy-source", source.startsWith("/") ? source : `/${source}`];
  return version === undefined ? [named] : [named, ["x-goog-copy-source-generation", version]];
}

/** The generation that an ETag of this endpoint is. No object has another ETag. */
function generationOf(tag: string): string {
  const [, generation] = /^"?(\d{1,20})"?$/.exec(tag.trim()) ?? [];
  if (generation !== undefined) return generation;
  const message = "At least one of the pre-conditions you specified did not hold";
  throw new NotWritten(new CacheError("FAILED_PRECONDITION", message));
}

/** The list of parts without checksums, which GCS does not know: each part was verified when it arrived. */
function withoutChecksums(document: Uint8Array): Uint8Array {
  const text = Buffer.from(document).toString("latin1");
  const bare = text.replace(/<((?:\w+:)?Checksum\w+)>[^<]*<\/\1>/g, "");
  return bare.length === text.length ? document : Buffer.from(bare, "latin1");
}

function md5Of(document: Uint8Array): Header {
  return ["content-md5", createHash("md5").update(document).digest("base64")];
}

function refused(what: string): NotWritten {
  return new NotWritten(noEquivalent(what));
}

/** GCS's answer as S3 would answer. A generation becomes the ETag, as in all answers about objects. */
export function xmlAnswer(request: WriteRequest, answer: WriteAnswer): WriteAnswer {
  const { status, headers, body } = answer;
  const operation = operationOf(request);
  // S3 answers so if there is nothing to delete.
  if (operation === "delete" && status === 404 && body.includes("<Code>NoSuchKey</Code>"))
    return { status: 204, headers: [], body: Buffer.alloc(0) };
  if (status >= 300) return answer;
  if (operation === "delete objects") return { ...answer, body: missingAsDeleted(body, request.body) };
  const generation = headers.find(([name]) => name === "x-goog-generation")?.[1];
  if (generation === undefined || operation === "part") return answer;
  const tag = entityTagOf(generation);
  const isDocument = operation === "copy" || operation === "complete";
  return {
    status,
    headers: [...headers.filter(([name]) => name !== "etag"), ["etag", tag]],
    body: isDocument
      ? Buffer.from(body.toString("latin1").replace(/<ETag>[^<]*<\/ETag>/, `<ETag>${tag}</ETag>`), "latin1")
      : body,
  };
}

/** To S3, an object that does not exist is deleted. */
function missingAsDeleted(answer: Buffer, request: WriteRequest["body"]): Buffer {
  const isQuiet = request instanceof Uint8Array && /<Quiet>true<\/Quiet>/.test(Buffer.from(request).toString("latin1"));
  const text = answer.toString("latin1").replace(/<Error>(.*?)<\/Error>/gs, (error, content: string) => {
    if (!content.includes("<Code>NoSuchKey</Code>")) return error;
    const names = [...content.matchAll(/<(Key|VersionId)>[^<]*<\/\1>/g)].map(([name]) => name).join("");
    return isQuiet ? "" : `<Deleted>${names}</Deleted>`;
  });
  return Buffer.from(text, "latin1");
}
