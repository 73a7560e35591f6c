import { listPage, nameOfToken } from "./list-page.js";
import { type Dialect, type Exchange, Listener } from "./listener.js";
import { bytesContent, type Content, ObjectTable, rampContent, type StoredObject } from "./objects.js";
import { sendObject } from "./send-object.js";

/** What an object is stored with. */
export interface GcsPutOptions {
  readonly contentType?: string;
  /** Further fields of the object's resource: contentEncoding, metadata and so on. */
  readonly resource?: Readonly<Record<string, unknown>>;
}

/** The `reason` of GCS errors by status. */
const reasons: Record<number, string> = {
  400: "invalid",
  401: "authError",
  403: "forbidden",
  404: "notFound",
  405: "methodNotAllowed",
  412: "conditionNotMet",
  416: "requestedRangeNotSatisfiable",
  429: "rateLimitExceeded",
  503: "backendError",
};

/** GCS's JSON API on a local port, without credentials: metadata, media, conditions, ranges, lists, and faults. */
export class GcsEmulator implements AsyncDisposable, Dialect {
  readonly objects = new ObjectTable();
  readonly #listener = new Listener(this);
  readonly faults = this.#listener.faults;
  readonly traffic = this.#listener.traffic;
  /** GCS's generations are microseconds since 1970; here they only grow. */
  #generation = 1_700_000_000_000_000;
  /** The rest of the objects' metadata. */
  readonly #resources = new WeakMap<StoredObject, Readonly<Record<string, unknown>>>();

  static async start(): Promise<GcsEmulator> {
    const emulator = new GcsEmulator();
    await emulator.#listener.listen();
    return emulator;
  }

  /** For `apiEndpoint` or STORAGE_EMULATOR_HOST: `http://127.0.0.1:port`. */
  get endpoint(): string {
    return this.#listener.url;
  }

  get openSockets(): number {
    return this.#listener.openSockets;
  }

  /** Puts an object without HTTP, and creates its bucket; returns the version (the generation). */
  put(bucket: string, key: string, body: Uint8Array | string | Content, options: GcsPutOptions = {}): string {
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    const content = bytes instanceof Uint8Array ? bytesContent(bytes) : bytes;
    const version = String(++this.#generation);
    const { contentType = "application/octet-stream", resource = {} } = options;
    this.objects.put(bucket, {
      key,
      size: content.size,
      chunks: content.chunks,
      version,
      contentType,
      lastModifiedMs: Date.now(),
      headers: mediaHeaders(resource),
    });
    this.#resources.set(this.objects.get(bucket, key)!, resource);
    return version;
  }

  /** Puts an object of any size whose byte i is (i + seed) % 251; needs no memory. */
  putRamp(bucket: string, key: string, size: number, seed = 0): string {
    return this.put(bucket, key, rampContent(size, seed));
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

  read(path: string): { bucket: string; key: string } {
    const match = /^(?:\/download)?\/storage\/v1\/b\/([^/]+)\/o(?:\/(.*))?$/s.exec(path);
    if (match === null) throw new URIError(`not a path of the JSON API: ${path}`);
    return { bucket: decodeURIComponent(match[1]!), key: decodeURIComponent(match[2] ?? "") };
  }

  async answer(exchange: Exchange): Promise<void> {
    const { bucket, key, method, query } = exchange.seen;
    if (method !== "GET") return exchange.fail(405, "methodNotAllowed");
    if (!this.objects.hasBucket(bucket)) return this.#notFound(exchange, "The specified bucket does not exist.");
    if (key === "") return this.#sendJson(exchange, 200, this.#list(bucket, query));
    const object = this.objects.get(bucket, key);
    if (object === undefined) return this.#notFound(exchange, `No such object: ${bucket}/${key}`);
    if (query.get("alt") === "media") return this.#answerMedia(exchange, object);
    const { generation, ...rest } = { ...metadata(bucket, object), ...this.#resources.get(object) };
    this.#sendJson(exchange, 200, exchange.fault.version === "missing" ? rest : { generation, ...rest });
  }

  /** Only the text distinguishes a missing bucket from a missing object. */
  #notFound(exchange: Exchange, message: string): void {
    const errors = [{ message, domain: "global", reason: "notFound" }];
    this.#sendJson(exchange, 404, { error: { code: 404, message, errors } });
  }

  sendError(exchange: Exchange, status: number, code: string, headers: Record<string, string>): void {
    const reason = code === "" ? reasons[status] : code;
    const errors = [{ domain: "global", reason }];
    this.#sendJson(exchange, status, { error: { code: status, message: reason, errors } }, headers);
  }

  async #answerMedia(exchange: Exchange, object: StoredObject): Promise<void> {
    const { seen, fault } = exchange;
    if (fault.version === "foreign") return sendObject(exchange, object, { "X-Goog-Generation": "7" });
    const condition = seen.query.get("ifGenerationMatch");
    if (condition !== null && condition !== object.version) return exchange.fail(412, "conditionNotMet");
    await sendObject(exchange, object, fault.version === "missing" ? {} : { "X-Goog-Generation": object.version });
  }

  #list(bucket: string, query: URLSearchParams): unknown {
    const startOffset = Buffer.from(query.get("startOffset") ?? "");
    const found = this.objects.list(bucket).filter(({ key }) => Buffer.compare(Buffer.from(key), startOffset) >= 0);
    const { objects, prefixes, nextToken } = listPage(found, {
      prefix: query.get("prefix") ?? "",
      delimiter: query.get("delimiter") ?? "",
      limit: Math.min(1000, Number(query.get("maxResults") ?? 1000)),
      after: nameOfToken(query.get("pageToken") ?? ""),
    });
    return {
      kind: "storage#objects",
      // GCS omits empty lists.
      ...(objects.length > 0 && { items: objects.map((object) => metadata(bucket, object)) }),
      ...(prefixes.length > 0 && { prefixes }),
      nextPageToken: nextToken,
    };
  }

  #sendJson({ response }: Exchange, status: number, value: unknown, headers: Record<string, string> = {}): void {
    const json = JSON.stringify(value);
    response.writeHead(status, { ...headers, "Content-Type": "application/json", "Content-Length": Buffer.byteLength(json) });
    response.end(json);
  }
}

/** The headers of media with metadata of the object. They contain neither its user metadata nor its Cache-Control. */
function mediaHeaders(resource: Readonly<Record<string, unknown>>): Record<string, string> {
  const named = {
    "content-encoding": resource.contentEncoding,
    "content-language": resource.contentLanguage,
    "content-disposition": resource.contentDisposition,
    "x-goog-metageneration": resource.metageneration,
    "x-goog-storage-class": resource.storageClass,
    "x-goog-stored-content-encoding": resource.contentEncoding,
  };
  const present = Object.entries(named).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return {
    ...Object.fromEntries(present),
    "cache-control": "no-cache, no-store, max-age=0",
    expires: "Mon, 01 Jan 1990 00:00:00 GMT",
  };
}

function metadata(bucket: string, object: StoredObject) {
  return {
    kind: "storage#object",
    bucket,
    name: object.key,
    generation: object.version,
    size: String(object.size),
    contentType: object.contentType,
    storageClass: "STANDARD",
    updated: new Date(object.lastModifiedMs).toISOString(),
  };
}
