import { createHash } from "node:crypto";
import type { GcsResource, GcsStore } from "./gcs-store.js";
import { partsXml, uploadsXml } from "./gcs-xml-listings.js";
import type { Exchange } from "./listener.js";
import type { StoredObject } from "./objects.js";

interface MultipartUpload {
  readonly bucket: string;
  readonly key: string;
  readonly resource: GcsResource;
  readonly parts: Map<number, { readonly bytes: Buffer; readonly etag: string }>;
}

/** Fields of the JSON API by headers of the XML API. */
const FIELD_OF: Readonly<Record<string, string>> = {
  "content-type": "contentType",
  "content-encoding": "contentEncoding",
  "content-language": "contentLanguage",
  "content-disposition": "contentDisposition",
  "cache-control": "cacheControl",
  "x-goog-storage-class": "storageClass",
  "x-goog-custom-time": "customTime",
};

/** The XML API of a GCS emulator: it writes and deletes objects, and uploads them in parts. It reads only listings of uploads. */
export class GcsXml {
  readonly #store: GcsStore;
  readonly #uploads = new Map<string, MultipartUpload>();
  #counter = 0;

  constructor(store: GcsStore) {
    this.#store = store;
  }

  /** Uploads that are neither completed nor aborted. */
  get openUploads(): number {
    return this.#uploads.size;
  }

  /** Writes, copies or deletes objects, or takes a request about an upload in parts. */
  write(exchange: Exchange, bytes: Buffer): void {
    const { bucket, key, method, query, headers } = exchange.seen;
    if (Object.keys(headers).some((name) => name.startsWith("x-amz-"))) return void exchange.fail(400, "InvalidArgument");
    if (key === "") {
      if (method === "POST" && query.has("delete")) return void this.#deleteObjects(exchange, bytes);
      return void exchange.fail(405, "MethodNotAllowed");
    }
    const current = this.#store.find(bucket, key);
    if (query.has("uploads")) {
      const id = `upload-${++this.#counter}`;
      this.#uploads.set(id, { bucket, key, resource: resourceIn(headers), parts: new Map() });
      return void sendXml(exchange, `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
    }
    const uploadId = query.get("uploadId");
    if (uploadId !== null) return void this.#uploadPart(exchange, uploadId, bytes);
    const condition = headers["x-goog-if-generation-match"];
    if (condition !== undefined && condition !== (current?.version ?? "0")) return void exchange.fail(412, "PreconditionFailed");
    if (method === "DELETE") {
      if (current === undefined) return void exchange.fail(404, "NoSuchKey");
      this.#store.remove(bucket, key);
      return void exchange.response.writeHead(204).end();
    }
    const source = headers["x-goog-copy-source"];
    if (source !== undefined) return void this.#copyXml(exchange, String(source));
    if (!this.#isIntact(exchange, bytes)) return void exchange.fail(400, "BadDigest");
    const stored = this.#store.store(bucket, key, bytes, resourceIn(headers));
    exchange.response.writeHead(200, { ...this.#written(stored, bytes), "Content-Length": 0 }).end();
  }

  /** Lists the uploads of a bucket, or the parts of an upload. */
  list(exchange: Exchange): void {
    const { bucket, key, query } = exchange.seen;
    if (!this.#store.hasBucket(bucket)) return void exchange.fail(404, "NoSuchBucket");
    if (Object.keys(exchange.seen.headers).some((name) => name.startsWith("x-amz-")))
      return void exchange.fail(400, "InvalidArgument");
    const id = query.get("uploadId");
    if (id === null) {
      const uploads = [...this.#uploads].flatMap(([each, upload]) =>
        upload.bucket === bucket ? [{ id: each, key: upload.key }] : [],
      );
      return void sendXml(exchange, uploadsXml(bucket, uploads, query));
    }
    const upload = this.#uploadOf(exchange, id);
    if (upload === undefined) return;
    const parts = [...upload.parts].map(([number, { bytes, etag }]) => ({ number, etag, bytes: bytes.length }));
    sendXml(exchange, partsXml(bucket, { id, key }, parts, query));
  }

  /** The open upload of the object, or undefined after the error. */
  #uploadOf({ seen, fail }: Exchange, id: string): MultipartUpload | undefined {
    const upload = this.#uploads.get(id);
    if (upload !== undefined && upload.key === seen.key && upload.bucket === seen.bucket) return upload;
    fail(404, "NoSuchUpload");
    return undefined;
  }

  #isIntact({ seen }: Exchange, bytes: Buffer): boolean {
    const { crc32c, md5Hash } = this.#store.hashesOf(bytes);
    const [, expected = crc32c] = /crc32c=([^,]+)/.exec(String(seen.headers["x-goog-hash"] ?? "")) ?? [];
    return expected === crc32c && (seen.headers["content-md5"] ?? md5Hash) === md5Hash;
  }

  /** The headers of an answer to a write. */
  #written(stored: StoredObject, bytes: Buffer): Record<string, string> {
    const { crc32c, md5Hash } = this.#store.hashesOf(bytes);
    return {
      ETag: `"${Buffer.from(md5Hash, "base64").toString("hex")}"`,
      "x-goog-generation": stored.version,
      "x-goog-metageneration": "1",
      "x-goog-hash": `crc32c=${crc32c},md5=${md5Hash}`,
    };
  }

  #copyXml(exchange: Exchange, source: string): void {
    const [, bucket = "", key = ""] = /^\/([^/]+)\/(.*)$/s.exec(source) ?? [];
    const from = this.#store.find(bucket, decodeURIComponent(key));
    if (from === undefined) return void exchange.fail(404, "NoSuchKey");
    const { seen } = exchange;
    const condition = seen.headers["x-goog-copy-source-if-generation-match"];
    if (condition !== undefined && condition !== from.version) return void exchange.fail(412, "PreconditionFailed");
    const bytes = this.#store.bytesOf(from);
    const isReplaced = seen.headers["x-goog-metadata-directive"] === "REPLACE";
    const resource = isReplaced ? resourceIn(seen.headers) : this.#store.resourceOf(from);
    const headers = this.#written(this.#store.store(seen.bucket, seen.key, bytes, resource), bytes);
    sendXml(exchange, `<CopyObjectResult><ETag>${headers.ETag}</ETag></CopyObjectResult>`, headers);
  }

  #uploadPart(exchange: Exchange, id: string, bytes: Buffer): void {
    const { seen, response } = exchange;
    const upload = this.#uploadOf(exchange, id);
    if (upload === undefined) return;
    if (seen.method === "DELETE") {
      this.#uploads.delete(id);
      return void response.writeHead(204).end();
    }
    if (seen.method === "PUT") {
      if (!this.#isIntact(exchange, bytes)) return void exchange.fail(400, "BadDigest");
      const etag = `"${createHash("md5").update(bytes).digest("hex")}"`;
      upload.parts.set(Number(seen.query.get("partNumber")), { bytes, etag });
      return void response.writeHead(200, { ETag: etag, "Content-Length": 0 }).end();
    }
    const listed = [...bytes.toString().matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part]) => ({
      number: Number(/<PartNumber>(\d+)</.exec(part!)?.[1]),
      etag: /<ETag>([^<]*)</.exec(part!)?.[1]?.replaceAll("&quot;", '"'),
    }));
    const parts = listed.map(({ number }) => upload.parts.get(number));
    if (parts.length === 0 || parts.some((part, at) => part === undefined || part.etag !== listed[at]!.etag))
      return void exchange.fail(400, "InvalidPart");
    if (/Checksum/.test(bytes.toString())) return void exchange.fail(400, "MalformedXML");
    this.#uploads.delete(id);
    const whole = Buffer.concat(parts.map((part) => part!.bytes));
    const stored = this.#store.store(seen.bucket, seen.key, whole, upload.resource);
    const etag = `"${createHash("md5").update(whole).digest("hex")}-${parts.length}"`;
    const result = `<CompleteMultipartUploadResult><Bucket>${seen.bucket}</Bucket><ETag>${etag}</ETag></CompleteMultipartUploadResult>`;
    sendXml(exchange, result, { "x-goog-generation": stored.version });
  }

  #deleteObjects(exchange: Exchange, bytes: Buffer): void {
    const { bucket } = exchange.seen;
    const results = [...bytes.toString().matchAll(/<Key>([^<]*)<\/Key>/g)].map(([key, name]) => {
      if (this.#store.find(bucket, name!) === undefined)
        return `<Error><Code>NoSuchKey</Code>${key}<Message>missing</Message></Error>`;
      this.#store.remove(bucket, name!);
      return `<Deleted>${key}</Deleted>`;
    });
    sendXml(exchange, `<DeleteResult>${results.join("")}</DeleteResult>`);
  }
}

/** The metadata in the headers of a request of the XML API. */
function resourceIn(headers: Exchange["seen"]["headers"]): GcsResource {
  const resource: Record<string, unknown> = {};
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const field = FIELD_OF[name];
    if (field !== undefined) resource[field] = String(value);
    else if (name.startsWith("x-goog-meta-")) metadata[name.slice("x-goog-meta-".length)] = String(value);
  }
  return Object.keys(metadata).length === 0 ? resource : { ...resource, metadata };
}

function sendXml({ response }: Exchange, xml: string, headers: Record<string, string> = {}): void {
  const document = `<?xml version="1.0" encoding="UTF-8"?>${xml}`;
  response.writeHead(200, { ...headers, "Content-Type": "application/xml", "Content-Length": Buffer.byteLength(document) });
  response.end(document);
}
