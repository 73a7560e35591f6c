import type { GcsResource, GcsStore } from "./gcs-store.js";
import type { Exchange } from "./listener.js";
import type { StoredObject } from "./objects.js";

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

/** GCS keeps only whole units of a part that is not the last one. */
const UNIT_BYTES = 256 << 10;

/** The part of a GCS emulator that changes objects by the JSON API: uploads, deletions, copies, compositions and metadata. */
export class GcsJsonWrites {
  readonly #store: GcsStore;
  readonly #sessions = new Map<string, Session>();
  #counter = 0;

  constructor(store: GcsStore) {
    this.#store = store;
  }

  /** Sessions that are neither completed nor cancelled. */
  get openSessions(): number {
    return [...this.#sessions.values()].filter(({ completed }) => completed === undefined).length;
  }

  /** Uploads an object, or begins a session. */
  insert(exchange: Exchange, bytes: Buffer): void {
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

  /** Takes a request to the address of a session. */
  continue(exchange: Exchange, id: string, bytes: Buffer, isWhole: boolean): void {
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

  /** Deletes, copies, composes or describes an object. */
  change(exchange: Exchange, path: string, bytes: Buffer): void {
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

function sendJson({ response }: Exchange, status: number, value: unknown): void {
  const json = JSON.stringify(value);
  response.writeHead(status, { "Content-Type": "application/json; charset=UTF-8", "Content-Length": Buffer.byteLength(json) });
  response.end(json);
}
