import { Readable } from "node:stream";
import { type ByteSpan, CacheError, type Completion, checkSize, type ValueInfo } from "@frontcache/proto";
import type { OpenedValue } from "../members/value-transport.js";
import type { CallOptions } from "../options.js";
import type { ByteStream } from "../range-stream.js";
import { askValues, type ValueCall } from "./ask-values.js";
import {
  checkPutOptions,
  checkValueOptions,
  describe,
  type PutValueOptions,
  StoredValues,
  type ValueOptions,
} from "./stored-values.js";
import { ValueWriter } from "./value-writer.js";

/** Options of `readStream`. */
export interface ReadStreamOptions extends CallOptions {
  /** Reads a value that is still being written as it arrives. If its writer dies, the stream fails with UNAVAILABLE. Default false. */
  readonly follow?: boolean | undefined;
}

/** A value and a stream of its bytes. */
export interface FoundValue {
  /** Of a value that is still being written, `size` is what has arrived, if its size is not known. */
  readonly info: ValueInfo;
  /**
   * Path of a file on this host whose first `info.size` bytes are the value: for `sendfile`, for example. Lock the value as long as the
   * file must stay. Absent: the value is still being written, has more than one block, or is not on one of the client's `localVolumes`.
   */
  readonly file?: string;
  /** The bytes. Destroy it if they are not read. */
  readonly stream: ByteStream;
}

/** Which bytes of a value, or of an upload, can be had. */
export interface Availability {
  readonly available: readonly ByteSpan[];
  readonly missing: readonly ByteSpan[];
}

/** The calls of ElCache's SDK besides those of StoredValues: ranges, sparse uploads, and streams. */
export class ElCacheValues extends StoredValues {
  /** Returns exactly the bytes of a range, fewer only where the value ends. Rejects with OUT_OF_RANGE past the end. */
  async readRange(key: string, offset: number, length: number, options: CallOptions = {}): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0);
    return await this.get(key, { ...options, offset, length });
  }

  /** Returns which bytes of a range can be had: of a value all, of a running upload those that were written. Rejects with NOT_FOUND. */
  async checkAvailability(key: string, offset: number, length: number, options: CallOptions = {}): Promise<Availability> {
    const info = await this.metadata(key, options);
    const asked = { start: offset, end: offset + length };
    if (info !== undefined) return { available: within([{ start: 0, end: info.size }], asked), missing: [] };
    const { present, missing } = await this.completion(key, options);
    return { available: within(present, asked), missing: within(missing, asked) };
  }

  /** Begins an upload: a hidden value of a fixed size, whose ranges any clients write in any order. */
  async createSparse(key: string, size: number, options: ValueOptions = {}): Promise<void> {
    checkValueOptions(options);
    const url = this.urlOf(key);
    checkSize(url, size, 1);
    await this.ask({ kind: "begin", url, size, description: describe(url, options) }, options, false);
  }

  /** Writes a range of an upload. Where ranges overlap, the last one counts. Resolves with how much has been written. */
  async writeRange(key: string, offset: number, bytes: Uint8Array, options: CallOptions = {}): Promise<Completion> {
    const url = this.urlOf(key);
    if (!Number.isSafeInteger(offset) || offset < 0) throw new CacheError("INVALID_ARGUMENT", `${url}: ${offset} is no offset`);
    const request = { kind: "writeRange", url, offset, body: bytes } as const;
    return await this.using.run(url, options, (limits) => {
      const at: ValueCall<Completion>["at"] = (transport, address) => transport.send(address, request, limits);
      return askValues({ url, isRepeatable: true, at }, this.using, limits);
    });
  }

  /** Returns how much of an upload has been written. Rejects with NOT_FOUND without one. */
  async completion(key: string, options: CallOptions = {}): Promise<Completion> {
    return await this.ask({ kind: "completion", url: this.urlOf(key) }, options);
  }

  /** Makes an upload the value. Rejects with ValueConflict `incomplete`, which says what is missing. */
  async finalize(key: string, options: Pick<ValueOptions, "signal" | "deadlineMs" | "ttlSeconds"> = {}): Promise<ValueInfo> {
    const url = this.urlOf(key);
    const { ttlSeconds } = describe(url, { ttlSeconds: options.ttlSeconds });
    return await this.ask({ kind: "finalize", url, ttlSeconds }, options, false);
  }

  /** Ends an upload, if there is one. */
  async abort(key: string, options: CallOptions = {}): Promise<void> {
    await this.ask({ kind: "abort", url: this.urlOf(key) }, options);
  }

  /** Opens a writer of a value. Readers may follow it. With a size, members check that as many bytes arrive. */
  writeStream(key: string, size?: number, options: PutValueOptions = {}): ValueWriter {
    checkPutOptions(options);
    this.urlOf(key);
    return new ValueWriter(size, (pieces, signal) => {
      const signals = [signal, options.signal].filter((each) => each !== undefined);
      return this.putBody(key, { pieces, size }, { ...options, signal: AbortSignal.any(signals) });
    });
  }

  /** Opens a stream of a value. */
  async readStream(key: string, options: ReadStreamOptions = {}): Promise<FoundValue> {
    const url = this.urlOf(key);
    const { follow = false, signal } = options;
    const request = { url, offset: 0, length: 0, follow };
    return await new Promise<FoundValue>((resolve, reject) => {
      this.using
        .run(url, { signal, isLong: true }, async (limits) => {
          const at: ValueCall<OpenedValue>["at"] = (transport, address) => transport.open(address, request, limits);
          const { info, pieces } = await askValues({ url, isRepeatable: true, at }, this.using, limits);
          await new Promise<void>((done) => {
            const stream = Readable.from(pieces(), { objectMode: false }) as ByteStream;
            stream.once("close", done);
            resolve({ info, stream });
          });
        })
        .catch(reject);
    });
  }
}

function within(spans: readonly ByteSpan[], asked: ByteSpan): ByteSpan[] {
  return spans
    .map(({ start, end }) => ({ start: Math.max(start, asked.start), end: Math.min(end, asked.end) }))
    .filter(({ start, end }) => start < end);
}
