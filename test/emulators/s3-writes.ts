import { createHash } from "node:crypto";
import type { Exchange } from "./listener.js";
import { bytesContent, type ObjectTable, type StoredObject } from "./objects.js";

/** Bodies are kept in memory. */
const MAX_BODY_BYTES = 256 << 20;

/** Headers of a write that are the object's own. */
const KEPT =
  /^(?:cache-control|content-disposition|content-encoding|content-language|expires|x-amz-meta-.+|x-amz-storage-class)$/;

interface MultipartUpload {
  readonly bucket: string;
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly contentType: string;
  readonly parts: Map<number, { readonly bytes: Buffer; readonly etag: string }>;
}

/** What was received of a body. */
interface Received {
  readonly bytes: Buffer;
  /** Names in lower case. */
  readonly trailers: ReadonlyMap<string, string>;
}

/** The part of an S3 emulator that changes objects: PUT, copies, deletes, multipart uploads, conditions. Nothing damaged is stored. */
export class S3Writes {
  readonly #objects: ObjectTable;
  readonly #uploads = new Map<string, MultipartUpload>();
  #counter = 0;
  /** The trailers of the last body that had some. */
  lastTrailers: ReadonlyMap<string, string> = new Map();

  constructor(objects: ObjectTable) {
    this.#objects = objects;
  }

  /** Uploads that are neither completed nor aborted. */
  get uploads(): number {
    return this.#uploads.size;
  }

  async answer(exchange: Exchange): Promise<void> {
    const { seen, response } = exchange;
    const { bucket, key, method, query, headers } = seen;
    const received = await this.#receive(exchange);
    if (received === undefined) return;
    // The client may have gone meanwhile: the origin has the whole request, and does what it says.
    if (exchange.fault.hold?.at === "body") await exchange.fault.hold.pass();
    if (key === "") {
      if (method === "PUT") this.#objects.createBucket(bucket);
      if (method === "POST" && query.has("delete")) return void this.#deleteObjects(exchange, received.bytes);
      return void response.writeHead(method === "DELETE" ? 204 : 200, { "Content-Length": 0 }).end();
    }
    const [uploadId, tagging] = [query.get("uploadId"), query.has("tagging")];
    if (tagging) return void response.writeHead(method === "DELETE" ? 204 : 200, { "Content-Length": 0 }).end();
    if (method === "POST" && query.has("uploads")) return void this.#create(exchange);
    const current = this.#objects.get(bucket, key);
    if (headers["if-none-match"] === "*" && current !== undefined) return exchange.fail(412, "PreconditionFailed");
    const ifMatch = headers["if-match"];
    if (ifMatch !== undefined && ifMatch !== current?.version) return exchange.fail(412, "PreconditionFailed");
    if (uploadId !== null) return void this.#upload(exchange, uploadId, received.bytes);
    if (method === "DELETE") {
      this.#objects.delete(bucket, key);
      return void response.writeHead(204).end();
    }
    const source = headers["x-amz-copy-source"];
    if (source !== undefined) return void this.#copy(exchange, String(source));
    const etag = this.#store(exchange, received.bytes);
    response.writeHead(200, { ETag: etag, "Content-Length": 0 }).end();
  }

  /** The body, if it is whole. Undefined: it is not, or an error was sent. */
  async #receive({ request, seen, fail }: Exchange): Promise<Received | undefined> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > MAX_BODY_BYTES) {
          fail(400, "EntityTooLarge", { Connection: "close" });
          return undefined;
        }
        chunks.push(chunk);
      }
    } catch {
      return undefined; // the client has given up before the end
    }
    const body = Buffer.concat(chunks);
    if (seen.headers["x-amz-decoded-content-length"] === undefined) return { bytes: body, trailers: new Map() };
    const received = decoded(body);
    this.lastTrailers = received.trailers;
    return received;
  }

  #store({ seen }: Exchange, bytes: Buffer): string {
    const headers = Object.entries(seen.headers).filter(([name, value]) => KEPT.test(name) && typeof value === "string");
    const encoding = String(seen.headers["content-encoding"] ?? "").replace(/^aws-chunked,?\s*/, "");
    const kept = Object.fromEntries(headers.filter(([name]) => name !== "content-encoding")) as Record<string, string>;
    return this.#put(seen.bucket, seen.key, bytes, {
      contentType: seen.headers["content-type"],
      headers: encoding === "" ? kept : { ...kept, "content-encoding": encoding },
      etag: createHash("md5").update(bytes).digest("hex"),
    });
  }

  #put(
    bucket: string,
    key: string,
    bytes: Buffer,
    as: { contentType?: string | undefined; headers: Readonly<Record<string, string>>; etag: string },
  ): string {
    const version = `"${as.etag}"`;
    this.#objects.put(bucket, {
      key,
      ...bytesContent(bytes),
      size: bytes.length,
      version,
      contentType: as.contentType ?? "binary/octet-stream",
      lastModifiedMs: Date.now(),
      headers: as.headers,
    });
    return version;
  }

  #copy(exchange: Exchange, source: string): void {
    const [, bucket = "", key = ""] = /^\/?([^/]+)\/(.*)$/.exec(source) ?? [];
    const object = this.#objects.get(bucket, decodeURIComponent(key));
    if (object === undefined) return void exchange.fail(404, "NoSuchKey");
    const { seen, response } = exchange;
    this.#objects.put(seen.bucket, { ...object, key: seen.key });
    sendXml(response, `<CopyObjectResult><ETag>${object.version}</ETag></CopyObjectResult>`);
  }

  #create({ seen, response }: Exchange): void {
    const id = `upload-${++this.#counter}`;
    const { bucket, key, headers } = seen;
    const kept = Object.entries(headers).filter(([name]) => KEPT.test(name)) as [string, string][];
    const contentType = headers["content-type"] ?? "binary/octet-stream";
    this.#uploads.set(id, { bucket, key, headers: Object.fromEntries(kept), contentType, parts: new Map() });
    sendXml(response, `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
  }

  #upload(exchange: Exchange, id: string, bytes: Buffer): void {
    const { seen, response } = exchange;
    const upload = this.#uploads.get(id);
    if (upload === undefined) return void exchange.fail(404, "NoSuchUpload");
    if (seen.method === "DELETE") {
      this.#uploads.delete(id);
      return void response.writeHead(204).end();
    }
    if (seen.method === "PUT") {
      const part = this.#partOf(exchange, bytes);
      if (part === undefined) return void exchange.fail(404, "NoSuchKey");
      const etag = `"${createHash("md5").update(part).digest("hex")}"`;
      upload.parts.set(Number(seen.query.get("partNumber")), { bytes: part, etag });
      if (seen.headers["x-amz-copy-source"] === undefined)
        return void response.writeHead(200, { ETag: etag, "Content-Length": 0 }).end();
      return void sendXml(response, `<CopyPartResult><ETag>${etag}</ETag></CopyPartResult>`);
    }
    const numbers = [...bytes.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber>/g)].map(([, number]) => Number(number));
    const parts = numbers.map((number) => upload.parts.get(number));
    if (parts.length === 0 || parts.includes(undefined)) return void exchange.fail(400, "InvalidPart");
    const all = Buffer.concat(parts.map((part) => part!.bytes));
    const etag = `${createHash("md5").update(all).digest("hex")}-${parts.length}`;
    const version = this.#put(upload.bucket, upload.key, all, { ...upload, etag });
    this.#uploads.delete(id);
    sendXml(response, `<CompleteMultipartUploadResult><ETag>${version}</ETag></CompleteMultipartUploadResult>`);
  }

  #partOf({ seen }: Exchange, bytes: Buffer): Buffer | undefined {
    const source = seen.headers["x-amz-copy-source"];
    if (source === undefined) return bytes;
    const [, bucket = "", key = ""] = /^\/?([^/]+)\/(.*)$/.exec(String(source)) ?? [];
    const object = this.#objects.get(bucket, decodeURIComponent(key));
    return object && bytesOf(object);
  }

  #deleteObjects({ seen, response }: Exchange, bytes: Buffer): void {
    const xml = bytes.toString();
    const keys = [...xml.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) => unescaped(key!));
    for (const key of keys) this.#objects.delete(seen.bucket, key);
    const deleted = /<Quiet>true<\/Quiet>/.test(xml) ? [] : keys;
    sendXml(
      response,
      `<DeleteResult>${deleted.map((key) => `<Deleted><Key>${escaped(key)}</Key></Deleted>`).join("")}</DeleteResult>`,
    );
  }
}

function bytesOf(object: StoredObject): Buffer {
  return Buffer.concat([...object.chunks(0, object.size, 1 << 20)]);
}

/** Decodes `aws-chunked` of a whole body. */
function decoded(body: Buffer): Received {
  const pieces: Buffer[] = [];
  for (let at = 0; ; ) {
    const end = body.indexOf("\r\n", at);
    const size = Number.parseInt(body.toString("latin1", at, end), 16);
    if (size === 0) {
      const lines = body.toString("latin1", end + 2).split("\r\n");
      const trailers = lines.flatMap((line): [string, string][] => {
        const [name, value] = line.split(":");
        return value === undefined ? [] : [[name!.toLowerCase(), value.trim()]];
      });
      return { bytes: Buffer.concat(pieces), trailers: new Map(trailers) };
    }
    pieces.push(body.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
}

function sendXml(response: Exchange["response"], xml: string): void {
  response.writeHead(200, { "Content-Type": "application/xml", "Content-Length": Buffer.byteLength(xml) }).end(xml);
}

function escaped(text: string): string {
  return text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function unescaped(text: string): string {
  const named: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
  return text.replace(/&(#?\w+);/g, (_, name: string) =>
    name.startsWith("#") ? String.fromCodePoint(Number(name.slice(1).replace("x", "0x"))) : (named[name] ?? ""),
  );
}
