export { rampBytes } from "@frontcache/server/testing";

import { createHash } from "node:crypto";
import { type Dialect, type Exchange, Listener } from "./listener.js";
import { bytesContent, type Content, ObjectTable, rampContent, type StoredObject } from "./objects.js";
import { S3Writes } from "./s3-writes.js";
import { bucketsXml, errorXml, isListQuery, LOCATION_XML, listXml, SUBRESOURCES, subresourceXml } from "./s3-xml.js";
import { sendObject } from "./send-object.js";

/** What an object is stored with. */
export interface PutOptions {
  readonly contentType?: string;
  /** Further headers of its answers, names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The form of a version ID. */
const VERSION_ID = /^[A-Za-z0-9._-]+$/;

/**
 * S3 over HTTP on a local port, without signatures: objects, old versions, conditions, ranges, lists, and faults. The
 * bucket is the first segment of the path, or of a host like `bucket.localhost`.
 */
export class S3Emulator implements AsyncDisposable, Dialect {
  readonly objects = new ObjectTable();
  readonly writes = new S3Writes(this.objects);
  readonly #listener = new Listener(this);
  readonly faults = this.#listener.faults;
  readonly traffic = this.#listener.traffic;
  /** The region in responses to HEADs of buckets; undefined: none, as from stores other than AWS. */
  region: string | undefined;
  /** The forms of listing that it has. A store without the second form ignores the parameter that asks for it. */
  listForms: "both" | "first" | "second" = "both";
  /** Whether ListBuckets is refused, as to credentials that may read some buckets only. */
  hidesBuckets = false;
  #puts = 0;
  /** Versions put by `putVersion`, by bucket, key and version ID. */
  readonly #versions = new Map<string, StoredObject>();

  static async start(): Promise<S3Emulator> {
    const emulator = new S3Emulator();
    await emulator.#listener.listen();
    return emulator;
  }

  /** The endpoint for clients: `http://127.0.0.1:port`. */
  get endpoint(): string {
    return this.#listener.url;
  }

  get openSockets(): number {
    return this.#listener.openSockets;
  }

  /** Puts an object without HTTP, and creates its bucket; returns the version (the ETag without quotes). */
  put(bucket: string, key: string, body: Uint8Array | string | Content, options: PutOptions = {}): string {
    if (typeof body !== "string" && !(body instanceof Uint8Array)) {
      return this.#store(bucket, key, body, `${body.size} bytes, put ${++this.#puts}`, options);
    }
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    return this.#store(bucket, key, bytesContent(bytes), bytes, options);
  }

  /** Puts an object of any size whose byte i is (i + seed) % 251; needs no memory. */
  putRamp(bucket: string, key: string, size: number, seed = 0): string {
    return this.put(bucket, key, rampContent(size, seed));
  }

  /** Puts an object into a bucket that keeps old versions; returns the ID for `?versionId=`, and the ETag. */
  putVersion(bucket: string, key: string, body: string): { versionId: string; version: string } {
    const version = this.put(bucket, key, body);
    const versionId = `3sL4kqtJlcpXro.${this.#versions.size}`;
    this.#versions.set(`${bucket}/${key}?${versionId}`, this.objects.get(bucket, key)!);
    return { versionId, version };
  }

  delete(bucket: string, key: string): void {
    this.objects.delete(bucket, key);
  }

  close(): Promise<void> {
    return this.#listener.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  read(path: string, host: string): { bucket: string; key: string } {
    const virtual = /^(.+)\.localhost(?::\d+)?$/.exec(host)?.[1];
    if (virtual !== undefined) return { bucket: virtual, key: keyOf(path.slice(1)) };
    const [bucket, key] = [path.slice(1).replace(/\/.*$/s, ""), path.replace(/^\/[^/]*\/?/, "")];
    return { bucket: decodeURIComponent(bucket), key: keyOf(key) };
  }

  async answer(exchange: Exchange): Promise<void> {
    const { bucket, key, method } = exchange.seen;
    if (method === "PUT" && key === "") return this.writes.answer(exchange);
    if (bucket === "") return this.#answerService(exchange);
    if (method === "PUT") return this.writes.answer(exchange);
    if (!this.objects.hasBucket(bucket)) return exchange.fail(404, "NoSuchBucket");
    if (method === "POST" || method === "DELETE") return this.writes.answer(exchange);
    const subresource = SUBRESOURCES.find((name) => exchange.seen.query.has(name));
    if (subresource !== undefined && method === "GET") return this.#answerSubresource(exchange, subresource);
    if (key === "") {
      if (method === "HEAD") {
        const region = this.region === undefined ? {} : { "x-amz-bucket-region": this.region };
        return void exchange.response.writeHead(200, { ...region, "Content-Type": "application/xml", "Content-Length": 0 }).end();
      }
      return this.#answerBucket(exchange);
    }
    if (method !== "GET" && method !== "HEAD") return exchange.fail(405, "MethodNotAllowed");
    await this.#answerObject(exchange);
  }

  sendError({ seen, response }: Exchange, status: number, code: string, headers: Record<string, string>): void {
    const xml = seen.method === "HEAD" ? "" : errorXml(code, `/${seen.bucket}/${seen.key}`);
    response.writeHead(status, { ...headers, "Content-Type": "application/xml", "Content-Length": Buffer.byteLength(xml) });
    response.end(xml);
  }

  #answerBucket(exchange: Exchange): void {
    const { seen, response } = exchange;
    const { bucket, method, query } = seen;
    const isLocation = query.has("location");
    if (method !== "GET") return void exchange.fail(405, "MethodNotAllowed");
    const form = query.get("list-type") === "2" && this.listForms !== "first" ? 2 : 1;
    if (!isLocation && form === 1 && this.listForms === "second") return void exchange.fail(501, "NotImplemented");
    if (!isLocation && !isListQuery(query)) return void exchange.fail(400, "InvalidArgument");
    const xml = isLocation ? LOCATION_XML : listXml(bucket, this.objects.list(bucket), query, form);
    response.writeHead(200, { "Content-Type": "application/xml", "Content-Length": Buffer.byteLength(xml) }).end(xml);
  }

  #answerService(exchange: Exchange): void {
    if (this.hidesBuckets) return void exchange.fail(403, "AccessDenied");
    const xml = bucketsXml(this.objects.buckets());
    exchange.response.writeHead(200, { "Content-Type": "application/xml", "Content-Length": Buffer.byteLength(xml) }).end(xml);
  }

  #answerSubresource(exchange: Exchange, subresource: string): void {
    const { bucket, key } = exchange.seen;
    if (key !== "" && this.objects.get(bucket, key) === undefined) return void exchange.fail(404, "NoSuchKey");
    const xml = subresourceXml(subresource);
    if (xml === undefined) return void exchange.fail(501, "NotImplemented");
    exchange.response.writeHead(200, { "Content-Type": "application/xml", "Content-Length": Buffer.byteLength(xml) }).end(xml);
  }

  async #answerObject(exchange: Exchange): Promise<void> {
    const { seen, fault } = exchange;
    const versionId = seen.query.get("versionId");
    if (versionId !== null && !VERSION_ID.test(versionId)) return exchange.fail(400, "InvalidArgument");
    const object =
      versionId === null
        ? this.objects.get(seen.bucket, seen.key)
        : this.#versions.get(`${seen.bucket}/${seen.key}?${versionId}`);
    if (object === undefined) return exchange.fail(404, versionId === null ? "NoSuchKey" : "NoSuchVersion");
    if (fault.version === "foreign") return sendObject(exchange, object, { ETag: '"foreign"' });
    if (seen.headers["if-match"] !== undefined && !matches(seen.headers["if-match"], object.version)) {
      return exchange.fail(412, "PreconditionFailed");
    }
    if (matches(seen.headers["if-none-match"] ?? "", object.version)) {
      const { "cache-control": cacheControl, expires } = object.headers;
      const kept = {
        ...(cacheControl !== undefined && { "Cache-Control": cacheControl }),
        ...(expires !== undefined && { expires }),
      };
      const lastModified = new Date(object.lastModifiedMs).toUTCString();
      return void exchange.response.writeHead(304, { ETag: object.version, "Last-Modified": lastModified, ...kept }).end();
    }
    await sendObject(exchange, object, fault.version === "missing" ? {} : { ETag: object.version });
  }

  #store(bucket: string, key: string, content: Content, identity: Uint8Array | string, options: PutOptions): string {
    const { contentType = "binary/octet-stream", headers = {} } = options;
    const etag = createHash("md5").update(identity).digest("hex");
    const { size } = content;
    this.objects.put(bucket, {
      key,
      size,
      chunks: content.chunks,
      version: `"${etag}"`,
      contentType,
      lastModifiedMs: Date.now(),
      headers,
    });
    return etag;
  }
}

/** S3 reads a bare plus sign in a path as a space. */
function keyOf(path: string): string {
  return decodeURIComponent(path.replaceAll("+", " "));
}

/** Returns whether a condition's list of ETags (or `*`) contains this one. */
function matches(header: string, etag: string): boolean {
  return header.split(",").some((candidate) => candidate.trim() === "*" || candidate.trim() === etag);
}
