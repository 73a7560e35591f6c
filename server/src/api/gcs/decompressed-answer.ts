import { Readable } from "node:stream";
import { createGunzip, type Gunzip } from "node:zlib";
import { CacheError, headerValue, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Cache } from "../../routing/cache.js";
import { callStatus } from "../call-status.js";
import type { HttpContext, Request } from "../http/http-context.js";
import { errorResponseOf, REQUEST_ID_HEADER, sendError } from "../s3/error-response.js";
import { makeHeaders, VIA } from "../s3/object-headers.js";

/** Headers of the stored bytes, which the decompressed ones do not have. */
const OF_STORED_BYTES = /^(?:content-encoding|accept-ranges)$/i;

/** Returns whether the client takes an object that is stored compressed as it is. */
export function acceptsGzip({ headers }: Request): boolean {
  return /(?:^|[,\s])(?:gzip|\*)(?:$|[\s,;])/i.test(headers["accept-encoding"] ?? "");
}

/** Returns whether GCS decompresses an object for clients that do not accept gzip. */
export function isDecompressed({ headers = "" }: ObjectInfo): boolean {
  const isForbidden = /\bno-transform\b/i.test(headerValue(headers, "cache-control") ?? "");
  return headerValue(headers, "content-encoding")?.toLowerCase() === "gzip" && !isForbidden;
}

/**
 * Answers with the decompressed bytes of an object that is stored compressed, as GCS does: the whole object with status 200, whatever
 * range is requested, and without a length. Never throws.
 */
export function answerDecompressed(context: HttpContext, cache: Cache, ref: ObjectRef, info: ObjectInfo): void {
  const answer = new DecompressedAnswer(context, ref);
  context.whenClosed(() => answer.end());
  void answer.run(cache, info);
}

class DecompressedAnswer {
  readonly #context: HttpContext;
  readonly #ref: ObjectRef;
  #read: ObjectRead | undefined;
  #gunzip: Gunzip | undefined;
  #isCounted = false;
  #isOver = false;

  constructor(context: HttpContext, ref: ObjectRef) {
    this.#context = context;
    this.#ref = ref;
  }

  /** Resolves when the answer has ended. Never rejects. */
  async run(cache: Cache, info: ObjectInfo): Promise<void> {
    const { request, response, requestId, client, principal, signal } = this.#context;
    try {
      const busy = client.beginRead();
      if (busy !== undefined) throw busy;
      this.#isCounted = true;
      const stored = makeHeaders(info, info).all.pairs;
      const kept = stored.filter((_, at) => !OF_STORED_BYTES.test(stored[at - (at % 2)]!));
      const head = [...kept, "Warning", "214 UploadServer gunzipped", ...VIA, REQUEST_ID_HEADER, requestId];
      if (request.method !== "HEAD") {
        const of = { forwarded: false, cachedOnly: false, openEnded: false, principal, signal };
        const read = await cache.open({ ref: this.#ref, version: info.version, offset: 0, length: info.objectSize, ...of });
        if (this.#isOver) return read.close();
        this.#read = read;
        await this.#send(read, head);
      }
      if (this.#isOver) return;
      if (!response.headersSent) response.writeHead(200, head);
      response.end();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Sends the head with the first decompressed bytes, so that bytes which are not compressed can still be refused. */
  async #send(read: ObjectRead, head: string[]): Promise<void> {
    const { response } = this.#context;
    const gunzip = createGunzip();
    this.#gunzip = gunzip;
    const stored = Readable.from(bytesOf(read));
    stored.on("error", (error) => gunzip.destroy(error));
    stored.pipe(gunzip);
    for await (const chunk of gunzip as AsyncIterable<Buffer>) {
      if (this.#isOver) return;
      if (!response.headersSent) response.writeHead(200, head);
      await new Promise<void>((taken) => response.write(chunk, taken));
    }
  }

  /** The response is closed. */
  end(): void {
    this.#isOver = true;
    if (this.#isCounted) this.#context.client.endRead();
    this.#gunzip?.destroy();
    this.#read?.close();
  }

  #fail(thrown: unknown): void {
    if (this.#isOver) return;
    const { response, requestId, client, log } = this.#context;
    const { url } = this.#ref;
    const isDamaged = String((thrown as NodeJS.ErrnoException | undefined)?.code).startsWith("Z_");
    const message = `${url}: the object's Content-Encoding is gzip, but its bytes are not: accept gzip to read them as they are`;
    const error = isDamaged ? new CacheError("INVALID_ARGUMENT", message, { cause: thrown }) : thrown;
    const { details } = callStatus(error, "objects.get", log, { url, requestId, client: client.address });
    if (response.headersSent) response.destroy();
    else sendError(this.#context, { ...errorResponseOf(error), message: details }, url);
  }
}

/** The bytes of a read. Copies, since a stream keeps them longer than a slice is valid. */
async function* bytesOf(read: ObjectRead): AsyncGenerator<Buffer> {
  for (let slice = await read.next(); slice !== undefined; slice = await read.next()) {
    const bytes = Buffer.from(slice.bytes);
    slice.release();
    yield bytes;
  }
}
