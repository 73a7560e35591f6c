import { createHash } from "node:crypto";
import type { Exchange } from "./listener.js";
import type { StoredObject } from "./objects.js";

/** What a client says about an object that it writes. */
export type GcsResource = Readonly<Record<string, unknown>>;

/** The objects of an emulator. */
export interface GcsStore {
  find(bucket: string, key: string): StoredObject | undefined;
  bytesOf(object: StoredObject): Buffer;
  resourceOf(object: StoredObject): GcsResource;
  /** Stores a generation; returns it. */
  store(bucket: string, key: string, bytes: Buffer, resource: GcsResource): StoredObject;
  /** Replaces the metadata of the generation. */
  describe(object: StoredObject, bucket: string, resource: GcsResource): StoredObject;
  remove(bucket: string, key: string): void;
  hasBucket(bucket: string): boolean;
  /** An object as the JSON API describes it. */
  describedAs(bucket: string, object: StoredObject): Record<string, unknown>;
  hashesOf(bytes: Buffer): { readonly crc32c: string; readonly md5Hash: string };
}

/** An upload that has not ended. */
interface Session {
  readonly bucket: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly resource: GcsResource;
  bytes: Buffer;
  /** The answer of the request that has completed it. */
  completed: Record<string, unknown> | undefined;
}

interface MultipartUpload {
  readonly bucket: string;
  readonly key: string;
  readonly resource: GcsResource;
  readonly parts: Map<number, { readonly bytes: Buffer; readonly etag: string }>;
}

/** GCS keeps only whole units of a part that is not the last one. */
const UNIT_BYTES = 256 << 10;

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

/**
 * The part of a GCS emulator that changes objects: uploads, deletions, copies, compositions and metadata of the JSON API, and objects
 * and uploads in parts of the XML API. Nothing damaged is stored.
 */
export class GcsWrites {
  readonly #store: GcsStore;
  readonly #sessions = new Map<string, Session>();
  readonly #uploads = new Map<string, MultipartUpload>();
  #counter = 0;
  /** The requests that were not refused at once, as `method path`, without queries. */
  readonly requests: string[] = [];
  /** The headers of the last write. */
  lastHeaders: Exchange["seen"]["headers"] = {};

  constructor(store: GcsStore) {
    this.#store = store;
  }

  /** Sessions and uploads in parts that are neither completed nor aborted. */
  get openUploads(): number {
    return [...this.#sessions.values()].filter(({ completed }) => completed === undefined).length + this.#uploads.size;
  }

  async answer(exchange: Exchange, path: string): Promise<void> {
    const { bucket, method, query, headers } = exchange.seen;
    this.requests.push(`${method} ${path}`);
    this.lastHeaders = headers;
    const session = query.get("upload_id");
    const { bytes, isWhole } = await bodyOf(exchange);
    if (session !== null) return void this.#continue(exchange, session, bytes, isWhole);
    if (!isWhole) return;
    if (!this.#store.hasBucket(bucket)) return void exchange.fail(404, path.startsWith("/storage") ? "notFound" : "NoSuchBucket");
    if (path.startsWith("/upload/")) return void this.#insert(exchange, bytes);
    if (path.startsWith("/storage/")) return void this.#change(exchange, path, bytes);
    return void this.#xml(exchange, bytes);
  }

  // The JSON API.

  #insert(exchange: Exchange, bytes: Buffer): void {
    const { bucket, query, headers } = exchange.seen;
    switch (query.get("uploadType")) {
      case "media": {
        const given = { contentType: headers["content-type"] ?? "application/octet-stream" };
        return void this.#complete(exchange, { bucket, key: query.get("name") ?? "", query, resource: given }, bytes);
      }
      case "multipart": {
        const parts = relatedParts(bytes, String(headers["content-type"]));
        if (parts === undefined) return void exchange.fail(400, "invalid");
        const resource = { contentType: parts.contentType, ...parts.resource };
        const key = query.get("name") ?? String(parts.resource.name ?? "");
        return void this.#complete(exchange, { bucket, key, query, resource }, parts.content);
      }
      case "resumable": {
        const resource = bytes.length === 0 ? {} : (JSON.parse(bytes.toString()) as GcsResource);
        const contentType = headers["x-upload-content-type"];
        const key = query.get("name") ?? String(resource.name ?? "");
        const described = contentType === undefined ? resource : { contentType, ...resource };
        const id = `session-${++this.#counter}`;
        this.#sessions.set(id, { bucket, key, query, resource: described, bytes: Buffer.alloc(0), completed: undefined });
        const address = new URLSearchParams(query);
        address.set("upload_id", id);
        const location = `https://storage.googleapis.com/upload/storage/v1/b/${bucket}/o?${address}`;
        return void exchange.response.writeHead(200, { Location: location, "Content-Length": 0 }).end();
      }
      default:
        return void exchange.fail(400, "invalid");
    }
  }

  #continue(exchange: Exchange, id: string, bytes: Buffer, isWhole: boolean): void {
    const session = this.#sessions.get(id);
    const { method, headers } = exchange.seen;
    if (session === undefined) return void exchange.fail(404, "notFound");
    if (method === "DELETE") {
      this.#sessions.delete(id);
      return void exchange.response.writeHead(499, { "Content-Length": 0 }).end();
    }
    if (session.completed !== undefined) return void sendJson(exchange, 200, session.completed);
    const range = String(headers["content-range"] ?? `bytes 0-*/${bytes.length}`);
    const [, from, to, size] = /^bytes (?:\*|(\d+)-(\d+|\*))\/(\d+|\*)$/.exec(range) ?? [];
    if (size === undefined) return void exchange.fail(400, "invalid");
    if (from !== undefined && Number(from) > session.bytes.length) return void exchange.fail(503, "backendError");
    const received = from === undefined ? session.bytes : Buffer.concat([session.bytes.subarray(0, Number(from)), bytes]);
    const isLast = isWhole && (to === "*" || (size !== "*" && received.length === Number(size)));
    if (!isLast) {
      session.bytes = received.subarray(0, Math.max(session.bytes.length, received.length - (received.length % UNIT_BYTES)));
      const has = session.bytes.length > 0 ? { Range: `bytes=0-${session.bytes.length - 1}` } : undefined;
      const isOldForm = headers["x-guploader-no-308"] === "yes";
      const status = isOldForm ? { "X-Http-Status-Code-Override": "308" } : undefined;
      if (isWhole) exchange.response.writeHead(isOldForm ? 200 : 308, { ...has, ...status, "Content-Length": 0 }).end();
      return;
    }
    this.#complete(exchange, session, received, (completed) => {
      session.completed = completed;
    });
  }

  #complete(
    exchange: Exchange,
    { bucket, key, query, resource }: Omit<Session, "bytes" | "completed">,
    bytes: Buffer,
    done: (described: Record<string, unknown>) => void = () => {},
  ): void {
    if (key === "") return void exchange.fail(400, "required");
    if (!this.#holds(query, this.#store.find(bucket, key))) return void exchange.fail(412, "conditionNotMet");
    const { crc32c, md5Hash } = this.#store.hashesOf(bytes);
    const expected = { ...hashesIn(exchange), ...(resource as { crc32c?: string; md5Hash?: string }) };
    if ((expected.crc32c ?? crc32c) !== crc32c || (expected.md5Hash ?? md5Hash) !== md5Hash)
      return void exchange.fail(400, "invalid");
    const described = this.#store.describedAs(bucket, this.#store.store(bucket, key, bytes, resource));
    done(described);
    sendJson(exchange, 200, described);
  }

  #change(exchange: Exchange, path: string, bytes: Buffer): void {
    const { method, query } = exchange.seen;
    const [, , , , bucketName, , name = "", action, ...more] = path.split("/");
    const [bucket, key] = [decodeURIComponent(bucketName!), decodeURIComponent(name)];
    const document = bytes.length === 0 ? {} : (JSON.parse(bytes.toString()) as GcsResource);
    if (action === "compose") return void this.#compose(exchange, bucket, key, document);
    const object = this.#store.find(bucket, key);
    if (action !== undefined) {
      const [, target = ""] = action === "moveTo" ? more : more.slice(1);
      const to = {
        bucket: action === "moveTo" ? bucket : decodeURIComponent(more[1]!),
        key: decodeURIComponent(more.at(-1) ?? target),
      };
      return void this.#copy(exchange, action, { bucket, key, object }, to, document);
    }
    if (object === undefined) return void exchange.fail(404, "notFound");
    if (!this.#holds(query, object)) return void exchange.fail(412, "conditionNotMet");
    if (method === "DELETE") {
      this.#store.remove(bucket, key);
      return void exchange.response.writeHead(204).end();
    }
    const old = this.#store.resourceOf(object);
    const metageneration = String(Number(old.metageneration ?? 1) + 1);
    const { crc32c, md5Hash } = old;
    const kept = method === "PATCH" ? old : { crc32c, md5Hash };
    const changed = this.#store.describe(object, bucket, { ...kept, ...document, metageneration });
    sendJson(exchange, 200, this.#store.describedAs(bucket, changed));
  }

  #compose(exchange: Exchange, bucket: string, key: string, document: GcsResource): void {
    if (!this.#holds(exchange.seen.query, this.#store.find(bucket, key))) return void exchange.fail(412, "conditionNotMet");
    const sources = (document.sourceObjects ?? []) as { name: string }[];
    const found = sources.map(({ name }) => this.#store.find(bucket, name));
    if (found.some((each) => each === undefined)) return void exchange.fail(404, "notFound");
    const bytes = Buffer.concat(found.map((each) => this.#store.bytesOf(each!)));
    const resource = { ...(document.destination as GcsResource | undefined), componentCount: found.length };
    sendJson(exchange, 200, this.#store.describedAs(bucket, this.#store.store(bucket, key, bytes, resource)));
  }

  #copy(
    exchange: Exchange,
    action: string,
    from: { readonly bucket: string; readonly key: string; readonly object: StoredObject | undefined },
    to: { readonly bucket: string; readonly key: string },
    document: GcsResource,
  ): void {
    if (from.object === undefined) return void exchange.fail(404, "notFound");
    if (!this.#holds(exchange.seen.query, this.#store.find(to.bucket, to.key))) return void exchange.fail(412, "conditionNotMet");
    const bytes = this.#store.bytesOf(from.object);
    const stored = this.#store.store(to.bucket, to.key, bytes, { ...this.#store.resourceOf(from.object), ...document });
    if (action === "moveTo") this.#store.remove(from.bucket, from.key);
    const resource = this.#store.describedAs(to.bucket, stored);
    if (action !== "rewriteTo") return void sendJson(exchange, 200, resource);
    const size = String(bytes.length);
    sendJson(exchange, 200, {
      kind: "storage#rewriteResponse",
      totalBytesRewritten: size,
      objectSize: size,
      done: true,
      resource,
    });
  }

  #holds(query: URLSearchParams, current: StoredObject | undefined): boolean {
    const generation = current?.version ?? "0";
    const metageneration = current === undefined ? undefined : String(this.#store.resourceOf(current).metageneration ?? 1);
    return (
      (query.get("ifGenerationMatch") ?? generation) === generation &&
      query.get("ifGenerationNotMatch") !== generation &&
      (query.get("ifMetagenerationMatch") ?? metageneration) === metageneration &&
      (query.get("ifMetagenerationNotMatch") ?? "-") !== metageneration
    );
  }

  // The XML API.

  #xml(exchange: Exchange, bytes: Buffer): void {
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
    const upload = this.#uploads.get(id);
    if (upload === undefined || upload.key !== seen.key || upload.bucket !== seen.bucket)
      return void exchange.fail(404, "NoSuchUpload");
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

/** What has arrived of a body, and whether that is all. */
async function bodyOf({ request }: Exchange): Promise<{ readonly bytes: Buffer; readonly isWhole: boolean }> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  } catch {
    return { bytes: Buffer.concat(chunks), isWhole: false }; // the client has given up before the end
  }
  return { bytes: Buffer.concat(chunks), isWhole: true };
}

/** The metadata and the object of a body of two parts. Undefined: it has another form. */
function relatedParts(body: Buffer, contentType: string) {
  const [, boundary] = /^multipart\/related; boundary="?([^";]+)"?/.exec(contentType) ?? [];
  if (boundary === undefined) return undefined;
  const [before, metadata, media, end] = split(body, Buffer.from(`--${boundary}`));
  if (before?.length !== 0 || metadata === undefined || media === undefined || !end?.toString().startsWith("--"))
    return undefined;
  const [, document] = headAndBody(metadata);
  const [head, content] = headAndBody(media);
  const [, type = "application/octet-stream"] = /^content-type: *(.*)$/im.exec(head) ?? [];
  return { resource: JSON.parse(document.toString()) as GcsResource, contentType: type.trim(), content };
}

function headAndBody(part: Buffer): [string, Buffer] {
  const at = part.indexOf("\r\n\r\n");
  return [part.toString("latin1", 0, at), part.subarray(at + 4, part.length - 2)];
}

function split(bytes: Buffer, delimiter: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let from = 0; ; ) {
    const at = bytes.indexOf(delimiter, from);
    parts.push(bytes.subarray(from, at < 0 ? bytes.length : at));
    if (at < 0) return parts;
    from = at + delimiter.length;
  }
}

/** The hashes that a request names for the object. */
function hashesIn({ seen }: Exchange): { crc32c?: string; md5Hash?: string } {
  const text = String(seen.headers["x-goog-hash"] ?? "");
  const [, crc32c] = /crc32c=([^,]+)/.exec(text) ?? [];
  const [, md5Hash] = /md5=([^,]+)/.exec(text) ?? [];
  return { ...(crc32c !== undefined && { crc32c }), ...(md5Hash !== undefined && { md5Hash }) };
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

function sendJson({ response }: Exchange, status: number, value: unknown): void {
  const json = JSON.stringify(value);
  response.writeHead(status, { "Content-Type": "application/json; charset=UTF-8", "Content-Length": Buffer.byteLength(json) });
  response.end(json);
}

function sendXml({ response }: Exchange, xml: string, headers: Record<string, string> = {}): void {
  const document = `<?xml version="1.0" encoding="UTF-8"?>${xml}`;
  response.writeHead(200, { ...headers, "Content-Type": "application/xml", "Content-Length": Buffer.byteLength(document) });
  response.end(document);
}
