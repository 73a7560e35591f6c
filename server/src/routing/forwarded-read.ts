import { CacheError, type ObjectInfo, type ReadRangeResponse } from "@frontcache/proto";
import type { ClientReadableStream } from "@grpc/grpc-js";
import type { BlockRequest } from "../cache/local-cache.js";
import type { ObjectRead, ReadResult } from "../cache/object-read.js";
import type { Slice } from "../runtime/slice.js";
import type { MemberLink } from "./member-link.js";

const nothing = (): void => {};

/**
 * A read that another member answers: its gRPC messages as slices, without a copy. The stream is paused while a message
 * waits to be taken, so a slow reader holds one message here and HTTP/2's window between the members.
 */
export class ForwardedRead implements ObjectRead {
  readonly offset: number;
  readonly result: ReadResult = "forwarded";
  info!: ObjectInfo;
  length = 0;
  #remaining = 0;
  /** Messages that have come and were not taken. */
  readonly #messages: Buffer[] = [];
  #waiting: { resolve: (slice: Slice | undefined) => void; reject: (error: CacheError) => void } | undefined;
  #failure: CacheError | undefined;
  #ended = false;

  private constructor(
    private readonly link: MemberLink,
    private readonly call: ClientReadableStream<ReadRangeResponse>,
    private readonly request: BlockRequest,
  ) {
    this.offset = request.blockOffset + request.start;
  }

  /** Resolves with the first message; rejects with OutOfReach, or the member's own error. */
  static open(link: MemberLink, request: BlockRequest): Promise<ForwardedRead> {
    const { ref, version, blockOffset, start, end, cachedOnly, signal } = request;
    const call = link.readRange({
      key: ref.url,
      offset: blockOffset + start,
      length: end - start,
      version: version ?? "",
      forwarded: true,
      cachedOnly,
    });
    return new ForwardedRead(link, call, request).#begin(signal);
  }

  next(): Slice | undefined | Promise<Slice | undefined> {
    const message = this.#messages.shift();
    if (message !== undefined) return this.#slice(message);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended) return undefined;
    this.call.resume();
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  close(): void {
    if (!this.#ended) this.call.cancel();
    this.#end(undefined);
    this.#messages.length = 0;
  }

  #begin(signal: AbortSignal): Promise<ForwardedRead> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.call.cancel();
        this.#end(CacheError.from(signal.reason));
        reject(CacheError.from(signal.reason));
      };
      if (signal.aborted) return onAbort();
      signal.addEventListener("abort", onAbort, { once: true });
      let begun = false;
      this.call.on("data", (response: ReadRangeResponse) => {
        try {
          if (!begun) this.#describe(response);
          this.#receive(response.data);
        } catch (error) {
          this.call.cancel();
          this.#end(CacheError.from(error));
          reject(error);
        }
        if (begun) return;
        begun = true;
        resolve(this);
      });
      this.call.on("error", (error: Error) => {
        signal.removeEventListener("abort", onAbort);
        const failure = this.link.error(error);
        this.#end(failure);
        reject(failure);
      });
      this.call.on("end", () => {
        signal.removeEventListener("abort", onAbort);
        const short = !begun || this.#remaining > 0;
        if (!short) return this.#end(undefined);
        const failure = this.#broken("ended too soon");
        this.#end(failure);
        reject(failure);
      });
    });
  }

  #describe({ version, objectSize }: ReadRangeResponse): void {
    const { version: wanted, start, end } = this.request;
    if (version === "" || (wanted !== undefined && version !== wanted)) throw this.#broken(`is of version "${version}"`);
    this.info = { version, objectSize };
    this.length = Math.min(end - start, objectSize - this.offset);
    this.#remaining = this.length;
  }

  #receive(data: Buffer): void {
    if (data.length === 0) return;
    this.#remaining -= data.length;
    if (this.#remaining < 0) throw this.#broken("is longer than its range");
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#messages.push(data);
      this.call.pause();
      return;
    }
    this.#waiting = undefined;
    waiting.resolve(this.#slice(data));
  }

  #slice(bytes: Buffer): Slice {
    return { bytes, release: nothing };
  }

  #end(failure: CacheError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (failure === undefined) waiting?.resolve(undefined);
    else waiting?.reject(failure);
  }

  #broken(what: string): CacheError {
    return new CacheError("INTERNAL", `${this.request.ref.url}: the answer of member ${this.link.member.name} ${what}`);
  }
}
