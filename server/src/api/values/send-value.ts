import { CacheError } from "@frontcache/proto";
import type { ValueRead, Values } from "../../values/values.js";
import { callStatus, readFailure } from "../call-status.js";
import type { HttpContext } from "../http/http-context.js";
import { errorResponseOf, sendError } from "../s3/error-response.js";
import { directRange, type RequestedRange, spanOf } from "../s3/range-header.js";
import { Sending } from "../sending/sending.js";

/** Attempts of a read whose value is replaced between the question for its size and the read of its bytes. */
const MAX_STARTS = 3;

/** A GET of a value. */
export interface ValueGet {
  readonly url: string;
  /** Undefined: the whole value. */
  readonly range: RequestedRange | undefined;
}

/** The status and headers of a response with the bytes of a read. */
export interface ValueHead {
  readonly status: number;
  /** Names and values in turn. */
  readonly headers: string[];
}

/** Answers a GET of a value, by the sending engine of all reads. Never throws. */
export function sendValue(
  context: HttpContext,
  values: Values,
  get: ValueGet,
  headOf: (read: ValueRead, length: number) => ValueHead,
): void {
  new ValueReply(context, values, get, headOf).run();
}

class ValueReply {
  readonly #context: HttpContext;
  readonly #values: Values;
  readonly #get: ValueGet;
  readonly #headOf: (read: ValueRead, length: number) => ValueHead;
  #read: ValueRead | undefined;
  #sending: Sending | undefined;
  #isCounted = false;
  #over = false;

  constructor(context: HttpContext, values: Values, get: ValueGet, headOf: (read: ValueRead, length: number) => ValueHead) {
    this.#context = context;
    this.#values = values;
    this.#get = get;
    this.#headOf = headOf;
    context.whenClosed(this.#closed);
  }

  run(): void {
    try {
      const busy = this.#context.client.beginRead();
      if (busy !== undefined) throw busy;
      this.#isCounted = true;
      const direct = directRange(this.#get.range);
      if (direct === undefined) {
        void this.#readBySize().catch(this.#fail);
        return;
      }
      const { offset, length } = direct;
      const read = this.#open(offset, length === 0 ? undefined : length);
      if (read instanceof Promise) read.then((opened) => this.#begin(opened)).catch(this.#fail);
      else this.#begin(read);
    } catch (error) {
      this.#fail(error);
    }
  }

  #open(offset: number, length: number | undefined, version?: string): ValueRead | Promise<ValueRead> {
    const { principal, signal } = this.#context;
    return this.#values.open({ url: this.#get.url, offset, length, version, principal, signal });
  }

  /** Reads a range that depends on the size of the value. */
  async #readBySize(): Promise<void> {
    const { url, range } = this.#get;
    for (let starts = 1; ; starts++) {
      const { principal, signal } = this.#context;
      const info = await this.#values.head({ url, principal, signal });
      if (info === undefined) throw new CacheError("NOT_FOUND", `${url}: no such value`);
      const span = spanOf(range!, info.size);
      if (span === undefined) throw new CacheError("OUT_OF_RANGE", `${url}: the range is not within ${info.size} bytes`);
      try {
        this.#begin(await this.#open(span.start, span.end - span.start, info.version));
        return;
      } catch (error) {
        if (CacheError.from(error).code !== "FAILED_PRECONDITION" || starts === MAX_STARTS) throw error;
      }
    }
  }

  #begin(read: ValueRead): void {
    if (this.#over) {
      read.close();
      return;
    }
    this.#read = read;
    const { response: sink, clock, client, strategyFor } = this.#context;
    // Only reads that follow a writer have no length.
    const length = read.length ?? 0;
    if (length === 0 && this.#get.range !== undefined)
      throw new CacheError("OUT_OF_RANGE", `${this.#get.url}: the value is empty`);
    const begin = (): void => {
      const { status, headers } = this.#headOf(read, length);
      sink.writeHead(status, headers);
    };
    const bytes = { length, next: (mayPipe?: boolean) => read.next(mayPipe), close: () => read.close() };
    this.#sending = new Sending({ read: bytes, sink, strategyFor, client, clock, begin, onFailure: this.#fail });
    this.#sending.start();
  }

  readonly #fail = (thrown: unknown): void => {
    if (this.#over) return;
    const { request, requestId, response, client, log } = this.#context;
    const { url } = this.#get;
    const error = response.headersSent ? thrown : readFailure(thrown, url, undefined);
    const about = { url, requestId, client: client.address };
    const { details } = callStatus(error, `${request.method} value`, log, about);
    // The head was sent and promises more bytes: only closing the connection can report the failure.
    if (response.headersSent) response.destroy();
    else if (CacheError.from(error).code === "OUT_OF_RANGE") void this.#refuseRange(details);
    else sendError(this.#context, { ...errorResponseOf(error), message: details }, url);
  };

  /** HTTP names the size in this answer. */
  async #refuseRange(message: string): Promise<void> {
    const { principal, signal } = this.#context;
    const { url } = this.#get;
    const info = await this.#values.head({ url, principal, signal }).catch(() => undefined);
    if (this.#over) return;
    const headers = info === undefined ? [] : ["Content-Range", `bytes */${info.size}`];
    sendError(this.#context, { status: 416, code: "InvalidRange", errorCode: "OUT_OF_RANGE", message, headers }, url);
  }

  /** The response is closed, sent or not. */
  readonly #closed = (): void => {
    this.#over = true;
    if (this.#isCounted) this.#context.client.endRead();
    this.#sending?.end();
    this.#read?.close();
    const { log, request, requestId, client } = this.#context;
    if (!log.debugEnabled) return;
    const fields = { event: "request", requestId, method: request.method, url: this.#get.url, range: request.headers.range };
    log.debug({ ...fields, client: client.address, complete: this.#sending?.complete === true }, "answered a request");
  };
}
