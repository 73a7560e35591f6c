import { randomBytes } from "node:crypto";
import { CacheError, entityTagOf, type ObjectRef, type S3Code } from "@frontcache/proto";
import type { WriteAnswer } from "../../origin/origin.js";
import type { ReplicatedValues } from "../../values/replicated-values.js";
import { MULTIPART_BUCKET } from "../../values/value-buckets.js";
import { checkDescription, type PutRequest, ValueConflict, type ValueInfo, type ValueRequest } from "../../values/values.js";
import type { WriteQuestion } from "../../writes/write-through.js";
import { parseDeleteDocument } from "../s3/writes/delete-document.js";
import { nameXml, XML_HEADER } from "../s3/xml.js";
import { readXml } from "../s3/xml-reading.js";

const MAX_DOCUMENT_BYTES = 8 << 20;
/** A multipart upload that is not completed for so long is dropped. */
const UPLOAD_TTL_SECONDS = 86_400;
const UPLOAD_ID = /^[0-9a-f]{32}$/;
const NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
/** Names of metadata are S3's, with the headers that describe an object besides. */
const METADATA = /^x-amz-meta-(.+)$/;
const DESCRIBING = /^(?:cache-control|content-(?:disposition|encoding|language)|expires)$/;
/** The time to live of the value, seconds. */
const TTL_HEADER = "x-amz-meta-frontcache-ttl";
const FLAGS_HEADER = "x-amz-meta-frontcache-flags";

type Described = Pick<PutRequest, "ttlSeconds" | "flags" | "metadata" | "contentType">;

/** Answers S3's writes to buckets of values. */
export class ValueWrites {
  readonly #values: ReplicatedValues;

  constructor(values: ReplicatedValues) {
    this.#values = values;
  }

  async run(question: WriteQuestion): Promise<WriteAnswer> {
    const { ref, method, query } = question;
    const parameters = new Map(query.filter(([name]) => name !== "x-id"));
    if (!("key" in ref)) return this.#writeBucket(question, parameters);
    const uploadId = parameters.get("uploadId");
    if (uploadId !== undefined) return this.#writeUpload(question, ref, uploadId, parameters.get("partNumber"));
    if (parameters.has("uploads")) return this.#beginUpload(question, ref);
    if (parameters.size > 0) throw refused("NotImplemented", "Values have only bytes and metadata.");
    if (method === "PUT") return question.source === undefined ? this.#put(question, ref) : this.#copy(question, ref);
    if (method !== "DELETE") throw refused("MethodNotAllowed", "The specified method is not allowed.");
    await this.#conflicting(() => this.#values.delete(requestOf(question, ref.url)));
    return answer(204);
  }

  async #put(question: WriteQuestion, ref: ObjectRef): Promise<WriteAnswer> {
    const { body, headers } = question;
    const sent = new Map(headers);
    if (sent.has("if-match")) throw refused("NotImplemented", "If-Match is not supported for values.");
    const whole = body instanceof Uint8Array ? body : body.pieces(async () => {});
    const { length: size } = body;
    const ifNoneMatch = sent.get("if-none-match") === "*" ? "*" : undefined;
    const request = { ...requestOf(question, ref.url), ...describedBy(headers), size, ifNoneMatch } as const;
    return written(await this.#conflicting(() => this.#values.put(request, whole)));
  }

  async #copy(question: WriteQuestion, ref: ObjectRef): Promise<WriteAnswer> {
    const { source, headers } = question;
    if (source === undefined || !("key" in source) || source.scheme !== "cache") {
      throw refused("NotImplemented", "A value is copied only from a bucket of values.");
    }
    const read = await this.#values.open({ ...requestOf(question, source.url), offset: 0 });
    try {
      const { info } = read;
      const { flags, metadata, contentType } = info;
      const isReplaced = headers.some(([name, value]) => name === "x-amz-metadata-directive" && value === "REPLACE");
      const described = isReplaced ? describedBy(headers) : { flags, metadata, contentType, ...ttlOf(headers) };
      const request = { ...requestOf(question, ref.url), ...described, size: info.size };
      const copied = await this.#conflicting(() => this.#values.put(request, bytesOf(read)));
      return document(`<CopyObjectResult ${NAMESPACE}>${tagXml(copied)}${modifiedXml(copied)}</CopyObjectResult>`);
    } finally {
      read.close();
    }
  }

  async #writeBucket(question: WriteQuestion, parameters: ReadonlyMap<string, string>): Promise<WriteAnswer> {
    const { ref, method } = question;
    if (method === "PUT" && parameters.size === 0) return answer(200, [["location", `/${ref.bucket}`]]);
    if (method !== "POST" || !parameters.has("delete")) {
      throw refused("MethodNotAllowed", "Buckets of values are declared by --cache-bucket.");
    }
    const { objects, isQuiet } = parseDeleteDocument(await wholeOf(question));
    const results = await Promise.all(
      objects.map(async ({ key }) => {
        try {
          await this.#values.delete(requestOf(question, `cache://${ref.bucket}/${key}`));
          return isQuiet ? "" : `<Deleted><Key>${nameXml(key)}</Key></Deleted>`;
        } catch (error) {
          const { s3Code = "InternalError", message } = CacheError.from(error);
          return `<Error><Key>${nameXml(key)}</Key><Code>${s3Code}</Code><Message>${nameXml(message)}</Message></Error>`;
        }
      }),
    );
    return document(`<DeleteResult ${NAMESPACE}>${results.join("")}</DeleteResult>`);
  }

  /** The parts of an upload are hidden values until it is completed. */
  async #beginUpload(question: WriteQuestion, ref: ObjectRef): Promise<WriteAnswer> {
    const uploadId = randomBytes(16).toString("hex");
    const described = describedBy(question.headers);
    // Not at the end, after all parts.
    checkDescription(ref.url, described);
    const about = Buffer.from(JSON.stringify({ url: ref.url, ...described }));
    await this.#values.put({ ...requestOf(question, partUrl(uploadId, "about")), ttlSeconds: UPLOAD_TTL_SECONDS }, about);
    const { bucket, key } = ref;
    const names = `<Bucket>${nameXml(bucket)}</Bucket><Key>${nameXml(key)}</Key><UploadId>${uploadId}</UploadId>`;
    return document(`<InitiateMultipartUploadResult ${NAMESPACE}>${names}</InitiateMultipartUploadResult>`);
  }

  async #writeUpload(question: WriteQuestion, ref: ObjectRef, uploadId: string, part: string | undefined): Promise<WriteAnswer> {
    const described = await this.#uploadOf(question, ref, uploadId);
    const { method, body } = question;
    if (method === "PUT" && part !== undefined) {
      if (question.source !== undefined) throw refused("NotImplemented", "Parts are not copied.");
      const request = { ...requestOf(question, partUrl(uploadId, part)), ttlSeconds: UPLOAD_TTL_SECONDS, size: body.length };
      return written(await this.#values.put(request, body instanceof Uint8Array ? body : body.pieces(async () => {})));
    }
    if (method === "POST") return this.#complete(question, ref, uploadId, described);
    if (method !== "DELETE") throw refused("MethodNotAllowed", "The specified method is not allowed.");
    await this.#dropUpload(question, uploadId);
    return answer(204);
  }

  async #complete(question: WriteQuestion, ref: ObjectRef, uploadId: string, described: Described): Promise<WriteAnswer> {
    const named = partsIn(await wholeOf(question));
    const parts: ValueInfo[] = [];
    for (const [i, { number, tag }] of named.entries()) {
      if (i > 0 && number <= named[i - 1]!.number) throw refused("InvalidRequest", "The parts are not in ascending order.");
      const info = await this.#find(question, partUrl(uploadId, String(number)), tag);
      if (info?.version !== tag) throw refused("InvalidRequest", `Part ${number} was not uploaded as named.`);
      parts.push(info);
    }
    const size = parts.reduce((sum, each) => sum + each.size, 0);
    const request = { ...requestOf(question, ref.url), ...described, size };
    const values = this.#values;
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      for (const { url, version } of parts) {
        const read = await values.open({ ...requestOf(question, url), offset: 0, version });
        yield* bytesOf(read);
      }
    };
    const info = await this.#conflicting(() => values.put(request, pieces()));
    await this.#dropUpload(question, uploadId);
    const { bucket, key } = ref;
    const names = `<Bucket>${nameXml(bucket)}</Bucket><Key>${nameXml(key)}</Key>${tagXml(info)}`;
    return document(`<CompleteMultipartUploadResult ${NAMESPACE}>${names}</CompleteMultipartUploadResult>`);
  }

  async #uploadOf(question: WriteQuestion, ref: ObjectRef, uploadId: string): Promise<Described> {
    const url = partUrl(uploadId, "about");
    const about = UPLOAD_ID.test(uploadId) ? await this.#find(question, url) : undefined;
    if (about !== undefined) {
      const pieces: Uint8Array[] = [];
      for await (const piece of bytesOf(await this.#values.open({ ...requestOf(question, url), offset: 0 }))) pieces.push(piece);
      const { url: uploaded, ...described } = JSON.parse(Buffer.concat(pieces).toString()) as Described & { url: string };
      if (uploaded === ref.url) return described;
    }
    throw new CacheError("NOT_FOUND", `${ref.url}: no such upload`, { s3Code: "NoSuchUpload" });
  }

  /** Resolves with what an upload consists of. It may have been written by a member that could not reach all others. */
  async #find(question: WriteQuestion, url: string, version?: string): Promise<ValueInfo | undefined> {
    const request = requestOf(question, url);
    const info = await this.#values.head(request);
    const isFound = info !== undefined && (version === undefined || info.version === version);
    return isFound ? info : this.#values.head({ ...request, isCertain: true });
  }

  async #dropUpload(question: WriteQuestion, uploadId: string): Promise<void> {
    const { principal, signal } = question;
    for (let after = ""; ; ) {
      const list = { bucket: MULTIPART_BUCKET, prefix: `${uploadId}/`, after, limit: 1_000, principal, signal };
      const { values, isTruncated } = await this.#values.list(list);
      await Promise.all(values.map(({ url }) => this.#values.delete(requestOf(question, url))));
      if (!isTruncated) return;
      after = values.at(-1)!.url.slice(`cache://${MULTIPART_BUCKET}/`.length);
    }
  }

  /** Conflicts as S3 says them. */
  async #conflicting<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ValueConflict) || error.reason !== "exists") throw error;
      throw new CacheError("FAILED_PRECONDITION", error.message);
    }
  }
}

function requestOf({ principal, signal }: WriteQuestion, url: string): ValueRequest {
  return { url, principal, signal };
}

function partUrl(uploadId: string, part: string): string {
  return `cache://${MULTIPART_BUCKET}/${uploadId}/${part.padStart(5, "0")}`;
}

/** Returns the description of a value in the headers of a write. */
function describedBy(headers: WriteQuestion["headers"]): Described {
  const metadata: Record<string, string> = {};
  let [contentType, flags]: [string | undefined, number | undefined] = [undefined, undefined];
  for (const [name, value] of headers) {
    const own = METADATA.exec(name)?.[1];
    if (name === "content-type") contentType = value;
    else if (name === FLAGS_HEADER) flags = Number(value);
    else if (name === TTL_HEADER) continue;
    else if (own !== undefined) metadata[own] = value;
    else if (DESCRIBING.test(name)) metadata[name] = value;
  }
  return { ...ttlOf(headers), flags, metadata, contentType };
}

function ttlOf(headers: WriteQuestion["headers"]): Pick<Described, "ttlSeconds"> {
  const text = headers.find(([name]) => name === TTL_HEADER)?.[1];
  return { ttlSeconds: text === undefined ? undefined : Number(text) };
}

async function* bytesOf(read: Awaited<ReturnType<ReplicatedValues["open"]>>): AsyncGenerator<Uint8Array> {
  try {
    for (let slice = await read.next(); slice !== undefined; slice = await read.next()) {
      const bytes = Buffer.from(slice.bytes);
      slice.release();
      yield bytes;
    }
  } finally {
    read.close();
  }
}

function wholeOf({ body, bodyLimit = MAX_DOCUMENT_BYTES }: WriteQuestion): Promise<Uint8Array> | Uint8Array {
  return body instanceof Uint8Array ? body : body.whole(bodyLimit);
}

function partsIn(body: Uint8Array): { readonly number: number; readonly tag: string }[] {
  const parts: { number: number; tag: string }[] = [];
  let fields = new Map<string, string>();
  readXml(body, "CompleteMultipartUpload", 3, {
    begin: (path) => {
      if (path.length === 2) fields = new Map();
    },
    end: (path, content) => {
      if (path.length === 3) fields.set(path.at(-1)!, content.trim());
      if (path.length !== 2 || path[1] !== "Part") return;
      const tag = (fields.get("ETag") ?? "").replace(/^"|"$/g, "");
      parts.push({ number: Number(fields.get("PartNumber")), tag });
    },
  });
  if (parts.length === 0 || parts.length > 10_000 || parts.some(({ number }) => !(number >= 1 && number <= 10_000))) {
    throw refused("MalformedXML", "The document names no parts that can be.");
  }
  return parts;
}

function written({ version }: ValueInfo): WriteAnswer {
  return answer(200, [["etag", entityTagOf(version)]]);
}

function tagXml({ version }: ValueInfo): string {
  return `<ETag>${nameXml(entityTagOf(version))}</ETag>`;
}

function modifiedXml({ createdMs }: ValueInfo): string {
  return `<LastModified>${new Date(createdMs).toISOString()}</LastModified>`;
}

function document(xml: string): WriteAnswer {
  return answer(200, [["content-type", "application/xml"]], Buffer.from(XML_HEADER + xml));
}

function answer(status: number, headers: readonly (readonly [string, string])[] = [], body = Buffer.alloc(0)): WriteAnswer {
  return { status, headers, body };
}

function refused(s3Code: S3Code, message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", message, { s3Code });
}
