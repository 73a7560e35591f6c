import { fromObjectHeaders } from "@frontcache/client/grpc";
import { CacheError, type ObjectInfo, type ReadRangeResponse } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { Metadata, ServiceError } from "@grpc/grpc-js";
import type { BlockRequest } from "../cache/block-request.js";
import type { ObjectRead, ReadResult } from "../cache/object-read.js";
import type { Slice } from "../runtime/slice.js";
import type { MemberReadCall } from "./member-channel.js";
import type { MemberLink } from "./member-link.js";

/**
 * How long a read may wait for bytes before it is made sure that its member is still there: a machine that vanishes closes
 * no connection. A member that is there may take its time, for its origin may be slow.
 */
const SILENT_MS = 1_000;

const nothing = (): void => {};

interface Waiting {
  resolve(slice: Slice | undefined): void;
  reject(error: CacheError): void;
}

/**
 * A read that another member answers: its gRPC messages as slices, without a copy. The stream is paused while a message
 * waits to be taken. What a slow reader can hold here is one message, the 16 that grpc-js reads ahead, and HTTP/2's window:
 * 12 MiB in all.
 */
export class ForwardedRead implements ObjectRead {
  readonly offset: number;
  readonly result: ReadResult = "forwarded";
  info!: ObjectInfo;
  length = 0;
  readonly #call: MemberReadCall;
  #headers: Pick<ObjectInfo, "contentType" | "lastModifiedMs"> = {};
  #remaining = 0;
  /** Messages that have come and were not taken. */
  readonly #messages: Buffer[] = [];
  /** Who waits for the first message, and then for the next one. */
  #opening: { resolve: () => void; reject: (error: CacheError) => void } | undefined;
  #waiting: Waiting | undefined;
  /** Messages that have come. */
  #heard = 0;
  #cancelSilence = nothing;
  #failure: CacheError | undefined;
  #ended = false;

  private constructor(
    private readonly link: MemberLink,
    private readonly request: BlockRequest,
  ) {
    const { ref, version, blockOffset, start, end, cachedOnly } = request;
    this.offset = blockOffset + start;
    this.#call = link.readRange({
      key: ref.url,
      offset: this.offset,
      length: end - start,
      version: version ?? "",
      forwarded: true,
      cachedOnly,
    });
    this.#call.on("metadata", (headers: Metadata) => {
      this.#headers = fromObjectHeaders(headers);
    });
    this.#call.on("data", this.#onData);
    this.#call.on("error", (error: ServiceError) => this.#end(this.link.error(error)));
    this.#call.on("end", () => {
      const short = this.#opening !== undefined || this.#remaining > 0;
      this.#end(short ? this.#wrong("ended too soon") : undefined);
    });
  }

  /** Resolves with the first message; rejects with OutOfReach, the member's own error, or the signal's reason. */
  static async open(link: MemberLink, request: BlockRequest): Promise<ForwardedRead> {
    if (request.signal.aborted) throw CacheError.from(request.signal.reason);
    if (!link.connected) await untilAborted(link.connect(), request.signal);
    const read = new ForwardedRead(link, request);
    await read.#opened();
    return read;
  }

  next(): Slice | undefined | Promise<Slice | undefined> {
    const message = this.#messages.shift();
    if (message !== undefined) return { bytes: message, release: nothing };
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended) return undefined;
    this.#call.resume();
    this.#watchForSilence();
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  close(): void {
    if (!this.#ended) this.#call.cancel();
    this.#end(undefined);
    this.#messages.length = 0;
  }

  #opened(): Promise<void> {
    this.#watchForSilence();
    return new Promise((resolve, reject) => {
      this.#opening = { resolve, reject };
      const { signal } = this.request;
      signal.addEventListener("abort", this.#onAbort, { once: true });
      if (signal.aborted) this.#onAbort();
    });
  }

  readonly #onAbort = (): void => this.#fail(CacheError.from(this.request.signal.reason));

  readonly #onData = (response: ReadRangeResponse): void => {
    if (this.#ended) return;
    this.#heard++;
    this.#cancelSilence();
    try {
      if (this.#opening !== undefined) this.#describe(response);
      this.#receive(response.data);
    } catch (error) {
      this.#fail(CacheError.from(error));
    }
  };

  #describe({ version, objectSize }: ReadRangeResponse): void {
    const { version: wanted, start, end } = this.request;
    if (version === "" || (wanted !== undefined && version !== wanted)) throw this.#wrong(`is of version "${version}"`);
    if (objectSize <= this.offset) throw this.#wrong(`names a size of ${objectSize}, before its own offset`);
    this.info = { version, objectSize, ...this.#headers };
    this.length = Math.min(end - start, objectSize - this.offset);
    this.#remaining = this.length;
    this.#opening!.resolve();
    this.#opening = undefined;
  }

  #receive(data: Buffer): void {
    if (data.length === 0) return;
    this.#remaining -= data.length;
    if (this.#remaining < 0) throw this.#wrong("is longer than its range");
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#messages.push(data);
      this.#call.pause();
      return;
    }
    this.#waiting = undefined;
    waiting.resolve({ bytes: data, release: nothing });
  }

  /** Somebody waits from now on, until the next message. */
  #watchForSilence(): void {
    const heard = this.#heard;
    const stillSilent = (): boolean => !this.#ended && this.#heard === heard;
    this.#cancelSilence = this.link.clock.after(SILENT_MS, () => {
      this.link.probe().then(
        () => stillSilent() && this.#watchForSilence(),
        (outOfReach) => stillSilent() && this.#fail(outOfReach),
      );
    });
  }

  #fail(failure: CacheError): void {
    if (this.#ended) return;
    this.#call.cancel();
    this.#end(failure);
  }

  #end(failure: CacheError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#cancelSilence();
    this.request.signal.removeEventListener("abort", this.#onAbort);
    const [opening, waiting] = [this.#opening, this.#waiting];
    this.#opening = this.#waiting = undefined;
    if (failure === undefined) {
      waiting?.resolve(undefined);
      return;
    }
    opening?.reject(failure);
    waiting?.reject(failure);
  }

  #wrong(what: string): CacheError {
    return new CacheError("INTERNAL", `${this.request.ref.url}: the answer of member ${this.link.member.name} ${what}`);
  }
}
