import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CacheError, parseObjectUrl, parsePrefixUrl, VALUE_HEADERS, type ValueMessage } from "@frontcache/proto";
import { bodyBytes, type HttpResponse } from "../http/http-response.js";
import type { CallLimits } from "../members/ports.js";
import { type CallOptions, checkOptions } from "../options.js";
import type { ByteStream } from "../range-stream.js";
import { openSource, type PutBody } from "../writing/put-source.js";
import type { SendWith } from "../writing/sending.js";
import { LatencyStats, type ValueClientStats } from "./latency-stats.js";
import { bodyPiecesOf, linesOf } from "./response-pieces.js";
import { ValueLock } from "./value-lock.js";
import { type ByteSpan, type Completion, exchange, exchangeDocument, type ValueRequest, valueIn } from "./value-requests.js";
import { ValueWriter } from "./value-writer.js";

/** A value: an object without an origin. */
export type ValueInfo = ValueMessage;

/** What a client says about a new value. */
export interface ValueOptions extends CallOptions {
  /** Seconds until it expires; 0: never. Default: that of the bucket. */
  readonly ttlSeconds?: number | undefined;
  /** A number from 0 to 2^32 - 1. Default 0. */
  readonly flags?: number | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly contentType?: string | undefined;
}

/** Options of `put`. */
export interface PutValueOptions extends ValueOptions {
  /** Only if there is no value: else rejects with ValueConflict `exists`. Default false. */
  readonly ifMissing?: boolean | undefined;
  /** While another client writes the key: reject with ValueConflict `already_started`, or wait. Default: the last writer wins. */
  readonly whileWritten?: "refuse" | "wait" | undefined;
}

/** Options of `get`. */
export interface GetValueOptions extends CallOptions {
  /** Default 0. */
  readonly offset?: number | undefined;
  /** 0: to the end. Default 0. */
  readonly length?: number | undefined;
}

/** Options of `readStream`. */
export interface ReadStreamOptions extends CallOptions {
  /** Reads a value that is still being written as it arrives. If its writer dies, the stream fails with UNAVAILABLE. Default false. */
  readonly follow?: boolean | undefined;
}

/** A value and a stream of its bytes. */
export interface FoundValue {
  /** Of a value that is still being written, `size` is what has arrived, if its size is not known. */
  readonly info: ValueInfo;
  readonly stream: ByteStream;
}

/** An event of a key: a writer began, a value can be read, a value was deleted or has expired. */
export interface ValueEvent {
  readonly event: "insert" | "ready" | "delete";
  readonly url: string;
  readonly info?: ValueInfo;
}

/** Which bytes of a value, or of an upload, can be had. */
export interface Availability {
  readonly available: readonly ByteSpan[];
  readonly missing: readonly ByteSpan[];
}

/** What the client lends to the values of a bucket. */
export interface ValuesWith {
  readonly sendWith: SendWith;
  /** Runs work within a call, with its deadline; `long`: without one. */
  run<Result>(
    subject: string,
    options: CallOptions & { readonly isLong?: boolean },
    work: (call: CallLimits) => Promise<Result>,
  ): Promise<Result>;
  nowMs(): number;
  after(ms: number, run: () => void): () => void;
}

const VALUE_OPTIONS = ["signal", "deadlineMs", "ttlSeconds", "flags", "metadata", "contentType"] as const;
const OPTIONS: ReadonlySet<string> = new Set(VALUE_OPTIONS);
const PUT_OPTIONS: ReadonlySet<string> = new Set([...VALUE_OPTIONS, "ifMissing", "whileWritten"]);
const GET_OPTIONS: ReadonlySet<string> = new Set(["signal", "deadlineMs", "offset", "length"]);

/** Bytes of a piece of a file or a stream that is sent. */
const PIECE_BYTES = 1 << 20;

/**
 * The values of one bucket: objects without an origin, written once and read everywhere, with a time to live. Create it with
 * `CacheClient.objects`. The calls of ElCache's SDK, of filezcache and of memcache-filestore have their equivalents here
 * (docs/values.md).
 */
export class ValueObjects {
  readonly bucket: string;
  readonly #using: ValuesWith;
  readonly #latency = new LatencyStats();

  constructor(bucket: string, using: ValuesWith) {
    parsePrefixUrl(`cache://${bucket}`);
    this.bucket = bucket;
    this.#using = using;
  }

  /** Stores a value: bytes, text, a stream, or `{ file }`. Streams are sent as they arrive. Resolves when two members have it. */
  async put(key: string, body: PutBody, options: PutValueOptions = {}): Promise<ValueInfo> {
    checkOptions(options, PUT_OPTIONS);
    const url = this.#urlOf(key);
    const { ifMissing = false, whileWritten } = options;
    const headers = {
      ...describe(options),
      "If-None-Match": ifMissing ? "*" : undefined,
      [VALUE_HEADERS.whileWritten]: whileWritten,
    };
    const isRepeatable = !ifMissing && whileWritten !== "refuse";
    if (typeof body === "string" || body instanceof Uint8Array) {
      const bytes = typeof body === "string" ? Buffer.from(body) : body;
      return await this.#timed("put", url, options, { method: "PUT", url, headers, body: bytes, isRepeatable });
    }
    // A stream is sent as it arrives, so that readers can follow it.
    if (Symbol.asyncIterator in body) return await this.#putPieces(key, asBytes(url, body), undefined, options);
    const source = await openSource(url, body);
    try {
      return await this.#putPieces(key, source.parts(PIECE_BYTES), source.size, options);
    } finally {
      await source.close();
    }
  }

  /** Returns the bytes of a value, or a range of them. Rejects with NOT_FOUND. */
  async get(key: string, options: GetValueOptions = {}): Promise<Buffer> {
    checkOptions(options, GET_OPTIONS);
    const { offset = 0, length = 0 } = options;
    if (!Number.isSafeInteger(offset) || offset < 0 || !Number.isSafeInteger(length) || length < 0) {
      throw new CacheError("INVALID_ARGUMENT", `${this.#urlOf(key)}: offset and length are whole numbers of bytes`);
    }
    const url = this.#urlOf(key);
    const isWhole = offset === 0 && length === 0;
    const range = isWhole ? undefined : `bytes=${offset}-${length === 0 ? "" : offset + length - 1}`;
    return await this.#measured("get", () =>
      this.#using.run(url, options, async (call) => {
        const response = await exchange(
          { method: "GET", url, headers: { Range: range }, isRepeatable: true },
          this.#using.sendWith,
          call,
        );
        const bytes = await bodyBytes(response.body, valueIn(response).size, "reject");
        return bytes;
      }),
    );
  }

  /** Returns exactly the bytes of a range, fewer only where the value ends. Rejects with OUT_OF_RANGE behind the end. */
  async readRange(key: string, offset: number, length: number, options: CallOptions = {}): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0);
    return await this.get(key, { ...options, offset, length });
  }

  async exists(key: string, options: CallOptions = {}): Promise<boolean> {
    return (await this.metadata(key, options)) !== undefined;
  }

  /** Returns what is known of a value; undefined: it is missing, has expired, or is still being written. */
  async metadata(key: string, options: CallOptions = {}): Promise<ValueInfo | undefined> {
    const url = this.#urlOf(key);
    return await this.#orUndefined(
      this.#using.run(url, options, async (call) => {
        const response = await exchange({ method: "HEAD", url, isRepeatable: true }, this.#using.sendWith, call);
        return valueIn(response);
      }),
    );
  }

  /** Returns which bytes of a range can be had: of a value all, of a running upload those that were written. Rejects with NOT_FOUND. */
  async checkAvailability(key: string, offset: number, length: number, options: CallOptions = {}): Promise<Availability> {
    const info = await this.metadata(key, options);
    const asked = { start: offset, end: offset + length };
    if (info !== undefined) return { available: within([{ start: 0, end: info.size }], asked), missing: [] };
    const { present, missing } = await this.completion(key, options);
    return { available: within(present, asked), missing: within(missing, asked) };
  }

  /** Deletes a value. Resolves with whether there was one. Rejects with ValueConflict `locked`. */
  async delete(key: string, options: CallOptions = {}): Promise<boolean> {
    const url = this.#urlOf(key);
    const deleted = this.#document(url, options, { method: "DELETE", url, isRepeatable: true }).then(() => true as const);
    return (await this.#orUndefined(deleted)) ?? false;
  }

  /** Lists the values whose keys begin with a prefix, in byte order. */
  async *list(prefix = "", options: CallOptions = {}): AsyncGenerator<ValueInfo, void> {
    const url = `cache://${this.bucket}`;
    const beginning = `${url}/`;
    for (let after = ""; ; ) {
      const query = `?list&prefix=${encodeURIComponent(prefix)}&after=${encodeURIComponent(after)}`;
      const page = await this.#document<{ values: ValueInfo[]; isTruncated: boolean }>(url, options, {
        method: "GET",
        url,
        query,
        isRepeatable: true,
      });
      yield* page.values;
      const last = page.values.at(-1);
      if (!page.isTruncated || last === undefined) return;
      after = last.url.slice(beginning.length);
    }
  }

  /** Begins an upload: a hidden value of a fixed size, whose ranges any clients write in any order. */
  async createSparse(key: string, size: number, options: ValueOptions = {}): Promise<void> {
    checkOptions(options, OPTIONS);
    const url = this.#urlOf(key);
    const headers = { ...describe(options), [VALUE_HEADERS.size]: String(size) };
    await this.#document(url, options, { method: "POST", url, query: "?begin", headers, isRepeatable: false });
  }

  /** Writes a range of an upload. Where ranges overlap, the last one counts. Resolves with how much has been written. */
  async writeRange(key: string, offset: number, bytes: Uint8Array, options: CallOptions = {}): Promise<Completion> {
    const url = this.#urlOf(key);
    return await this.#document(url, options, {
      method: "PUT",
      url,
      query: `?offset=${offset}`,
      body: bytes,
      isRepeatable: true,
    });
  }

  /** Returns how much of an upload has been written. Rejects with NOT_FOUND without one. */
  async completion(key: string, options: CallOptions = {}): Promise<Completion> {
    const url = this.#urlOf(key);
    return await this.#document(url, options, { method: "GET", url, query: "?upload", isRepeatable: true });
  }

  /** Makes an upload the value. Rejects with ValueConflict `incomplete`, which says what is missing. */
  async finalize(key: string, options: Pick<ValueOptions, "signal" | "deadlineMs" | "ttlSeconds"> = {}): Promise<ValueInfo> {
    const url = this.#urlOf(key);
    const headers = { [VALUE_HEADERS.ttl]: options.ttlSeconds?.toString() };
    return await this.#document(url, options, { method: "POST", url, query: "?finalize", headers, isRepeatable: false });
  }

  /** Ends an upload, if there is one. */
  async abort(key: string, options: CallOptions = {}): Promise<void> {
    const url = this.#urlOf(key);
    await this.#document(url, options, { method: "DELETE", url, query: "?upload", isRepeatable: true });
  }

  /** Opens a writer of a value. Readers may follow it. With a size, members check that as many bytes arrive. */
  writeStream(key: string, size?: number, options: PutValueOptions = {}): ValueWriter {
    checkOptions(options, PUT_OPTIONS);
    this.#urlOf(key);
    return new ValueWriter(size, (bytes, signal) => {
      const signals = [signal, options.signal].filter((each) => each !== undefined);
      return this.#putPieces(key, bytes, size, { ...options, signal: AbortSignal.any(signals) });
    });
  }

  /** Opens a stream of a value. */
  async readStream(key: string, options: ReadStreamOptions = {}): Promise<FoundValue> {
    const url = this.#urlOf(key);
    const { follow = false, signal } = options;
    const headers = { [VALUE_HEADERS.follow]: follow ? "1" : undefined };
    return await new Promise<FoundValue>((resolve, reject) => {
      this.#using
        .run(url, { signal, isLong: true }, async (call) => {
          const response = await exchange({ method: "GET", url, headers, isRepeatable: true }, this.#using.sendWith, call);
          await new Promise<void>((done) => {
            const stream = Readable.from(bodyPiecesOf(response.body, url), { objectMode: false }) as ByteStream;
            stream.once("close", done);
            resolve({ info: valueIn(response), stream });
          });
        })
        .catch(reject);
    });
  }

  /** As in filezcache: stores a value, and refuses while another client writes the key (ValueConflict `already_started`). */
  async insert(key: string, body: PutBody, options: ValueOptions = {}): Promise<ValueInfo> {
    return await this.put(key, body, { ...options, whileWritten: "refuse" });
  }

  /** Stores the bytes of a local file, as `insert` does. */
  async insertFile(key: string, path: string, options: ValueOptions = {}): Promise<ValueInfo> {
    return await this.insert(key, { file: path }, options);
  }

  /** Opens a writer that only its owner appends to, or runs `feed` with it. The value is dropped if the writer ends early. */
  insertStream(key: string, size?: number, options: ValueOptions = {}): ValueWriter {
    return this.writeStream(key, size, { ...options, whileWritten: "refuse" });
  }

  async appendStream(writer: ValueWriter, bytes: Uint8Array | string): Promise<void> {
    await writer.write(bytes);
  }

  async finishStream(writer: ValueWriter): Promise<ValueInfo> {
    return await writer.finish();
  }

  /** Opens a value, complete or still being written; undefined: no such value. */
  async lookup(key: string, options: CallOptions = {}): Promise<FoundValue | undefined> {
    return await this.#orUndefined(this.readStream(key, { ...options, follow: true }));
  }

  /** Waits until a value is complete and copies it to a local file. The file appears when it is whole. Undefined: there is no value. */
  async lookupFile(key: string, path: string, options: CallOptions = {}): Promise<ValueInfo | undefined> {
    const found = await this.lookup(key, options);
    if (found === undefined) return undefined;
    const draft = `${path}.${process.pid}.part`;
    try {
      await pipeline(found.stream, createWriteStream(draft));
      await rename(draft, path);
    } catch (error) {
      await rm(draft, { force: true });
      throw CacheError.from(error);
    }
    return (await this.metadata(key, options)) ?? found.info;
  }

  /** Marks a value as used, so that others are evicted first. */
  async access(key: string, options: CallOptions = {}): Promise<void> {
    await this.get(key, { ...options, offset: 0, length: 1 }).catch((error: unknown) => {
      const { code } = CacheError.from(error);
      if (code !== "NOT_FOUND" && code !== "OUT_OF_RANGE") throw error;
    });
  }

  /** The members that keep a value, or would keep it: addresses of their gRPC listeners. */
  where(key: string): readonly string[] {
    return this.#using.sendWith.owners
      .addressesOf(this.#urlOf(key), 0)
      .slice(0, 2)
      .map(({ grpcAddress }) => grpcAddress);
  }

  /** Locks a value: it is not evicted, deleted or overwritten until `release`, or until this process ends. Rejects with NOT_FOUND. */
  async lock(key: string, options: CallOptions = {}): Promise<ValueLock> {
    const url = this.#urlOf(key);
    const send = async (query: string): Promise<void> => {
      await this.#document(url, options, { method: "POST", url, query, isRepeatable: true });
    };
    return await ValueLock.take(send, this.#using);
  }

  /** Events of the keys with a prefix, until the loop ends or the signal is aborted. */
  async *monitor(prefix = "", options: Pick<CallOptions, "signal"> = {}): AsyncGenerator<ValueEvent, void> {
    const url = `cache://${this.bucket}`;
    const query = `?monitor&prefix=${encodeURIComponent(prefix)}`;
    let response: HttpResponse | undefined;
    let done = (): void => {};
    const over = new Promise<void>((resolve) => {
      done = resolve;
    });
    const opened = new Promise<HttpResponse>((resolve, reject) => {
      this.#using
        .run(url, { signal: options.signal, isLong: true }, async (call) => {
          resolve(await exchange({ method: "GET", url, query, isRepeatable: true }, this.#using.sendWith, call));
          await over;
        })
        .catch(reject);
    });
    try {
      response = await opened;
      for await (const line of linesOf(bodyPiecesOf(response.body, url))) if (line !== "") yield JSON.parse(line) as ValueEvent;
    } catch (error) {
      if (options.signal?.aborted !== true) throw CacheError.from(error);
    } finally {
      response?.body.destroy();
      done();
    }
  }

  /** Counts and latencies of this client's calls, since it was created. */
  stats(): ValueClientStats {
    return this.#latency.report();
  }

  #urlOf(key: string): string {
    return parseObjectUrl(`cache://${this.bucket}/${key}`).url;
  }

  /** Stores bytes that are sent as they are made. Without a deadline of its own, it may take any time. */
  async #putPieces(
    key: string,
    bytes: AsyncIterable<Uint8Array>,
    size: number | undefined,
    options: PutValueOptions,
  ): Promise<ValueInfo> {
    const url = this.#urlOf(key);
    const request = { method: "PUT", url, headers: conditionsOf(options), pieces: { bytes, size }, isRepeatable: false } as const;
    return await this.#timed("put", url, { ...options, isLong: options.deadlineMs === undefined }, request);
  }

  #document<Answer>(url: string, options: CallOptions & { isLong?: boolean }, request: ValueRequest): Promise<Answer> {
    return this.#using.run(url, options, (call) => exchangeDocument<Answer>(request, this.#using.sendWith, call));
  }

  #timed(kind: "put", url: string, options: CallOptions & { isLong?: boolean }, request: ValueRequest): Promise<ValueInfo> {
    return this.#measured(kind, () => this.#document<ValueInfo>(url, options, request));
  }

  async #measured<Result>(kind: "get" | "put", work: () => Promise<Result>): Promise<Result> {
    const begunMs = this.#using.nowMs();
    try {
      const result = await work();
      this.#latency.record(kind, this.#using.nowMs() - begunMs, "hit");
      return result;
    } catch (error) {
      const isMiss = CacheError.from(error).code === "NOT_FOUND";
      this.#latency.record(kind, this.#using.nowMs() - begunMs, isMiss ? "miss" : "failure");
      throw error;
    }
  }

  async #orUndefined<Result>(work: Promise<Result>): Promise<Result | undefined> {
    try {
      return await work;
    } catch (error) {
      if (CacheError.from(error).code === "NOT_FOUND") return undefined;
      throw error;
    }
  }
}

function describe({ ttlSeconds, flags, metadata = {}, contentType }: ValueOptions): Record<string, string | undefined> {
  const headers: Record<string, string | undefined> = {
    [VALUE_HEADERS.ttl]: ttlSeconds?.toString(),
    [VALUE_HEADERS.flags]: flags?.toString(),
    "Content-Type": contentType,
  };
  for (const [name, value] of Object.entries(metadata)) {
    if (!/^[a-z0-9_.-]{1,128}$/.test(name)) {
      throw new CacheError(
        "INVALID_ARGUMENT",
        `the name of metadata ${JSON.stringify(name)} has other characters than a-z 0-9 _ . -`,
      );
    }
    headers[`${VALUE_HEADERS.metadata}${name}`] = encodeURIComponent(value);
  }
  return headers;
}

function conditionsOf(options: PutValueOptions): Record<string, string | undefined> {
  const { ifMissing = false, whileWritten } = options;
  return { ...describe(options), "If-None-Match": ifMissing ? "*" : undefined, [VALUE_HEADERS.whileWritten]: whileWritten };
}

async function* asBytes(url: string, body: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array, void> {
  for await (const piece of body) {
    const bytes = typeof piece === "string" ? Buffer.from(piece) : piece;
    if (!(bytes instanceof Uint8Array)) throw new CacheError("INVALID_ARGUMENT", `${url}: the stream yields no bytes`);
    yield bytes;
  }
}

function within(spans: readonly ByteSpan[], asked: ByteSpan): ByteSpan[] {
  return spans
    .map(({ start, end }) => ({ start: Math.max(start, asked.start), end: Math.min(end, asked.end) }))
    .filter(({ start, end }) => start < end);
}
