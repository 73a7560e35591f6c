import {
  CacheError,
  checkDescription,
  parseObjectUrl,
  parsePrefixUrl,
  type ValueDescription,
  type ValueInfo,
} from "@frontcache/proto";
import { checkOptions } from "../argument-types.js";
import type { CallLimits } from "../members/ports.js";
import type { ValueAnswerTo, ValueBody, ValueQuestion } from "../members/value-transport.js";
import type { CallOptions } from "../options.js";
import { openSource, type PutBody } from "../writing/put-source.js";
import { type AskValuesWith, askValues, orUndefined, type ValueCall } from "./ask-values.js";
import { LatencyStats, type ValueClientStats } from "./latency-stats.js";

/** The description of a new value, and the limits of the call. */
export interface ValueOptions extends CallOptions, ValueDescription {}

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

/** The collaborators of the values of a bucket. */
export interface ValuesWith extends AskValuesWith {
  /** Runs work within a call, with its deadline; `long`: without one. */
  run<Result>(
    subject: string,
    options: CallOptions & { readonly isLong?: boolean },
    work: (call: CallLimits) => Promise<Result>,
  ): Promise<Result>;
  /**
   * Returns the path of a local file that begins with the bytes of a value. Undefined: no such file. Absent: this client reads no
   * files.
   */
  fileOf?(value: ValueInfo): Promise<string | undefined>;
  nowMs(): number;
  after(ms: number, run: () => void): () => void;
}

const VALUE_OPTIONS = ["signal", "deadlineMs", "ttlSeconds", "flags", "metadata", "contentType"] as const;
const PUT_OPTIONS: ReadonlySet<string> = new Set([...VALUE_OPTIONS, "ifMissing", "whileWritten"]);
const GET_OPTIONS: ReadonlySet<string> = new Set(["signal", "deadlineMs", "offset", "length"]);

/** Bytes of a piece of a file or a stream that is sent. */
const PIECE_BYTES = 1 << 20;

/**
 * Values of one bucket by key: put, get, delete, list. memcache-filestore's Store, Retrieve and Delete are `put` with `ifMissing`,
 * `get` and `delete`.
 */
export class StoredValues {
  readonly bucket: string;
  protected readonly using: ValuesWith;
  readonly #latency = new LatencyStats();

  constructor(bucket: string, using: ValuesWith) {
    parsePrefixUrl(`cache://${bucket}`);
    this.bucket = bucket;
    this.using = using;
  }

  /** Stores a value: bytes, text, a stream, or `{ file }`. Streams are sent as they arrive. Resolves when two members have it. */
  async put(key: string, body: PutBody, options: PutValueOptions = {}): Promise<ValueInfo> {
    checkOptions(options, PUT_OPTIONS);
    const url = this.urlOf(key);
    if (typeof body === "string" || body instanceof Uint8Array) {
      return await this.putBody(key, typeof body === "string" ? Buffer.from(body) : body, options);
    }
    // A stream is sent as it arrives, so that readers can follow it.
    if (Symbol.asyncIterator in body) {
      return await this.putBody(key, { pieces: asBytes(url, body), size: undefined }, options);
    }
    const source = await openSource(url, body);
    try {
      return await this.putBody(key, { pieces: source.parts(PIECE_BYTES), size: source.size }, options);
    } finally {
      await source.close();
    }
  }

  /** Returns the bytes of a value, or a range of them. Rejects with NOT_FOUND. */
  async get(key: string, options: GetValueOptions = {}): Promise<Buffer> {
    checkOptions(options, GET_OPTIONS);
    const { offset = 0, length = 0 } = options;
    const url = this.urlOf(key);
    if (!Number.isSafeInteger(offset) || offset < 0 || !Number.isSafeInteger(length) || length < 0) {
      throw new CacheError("INVALID_ARGUMENT", `${url}: offset and length are whole numbers of bytes`);
    }
    const request = { url, offset, length, follow: false };
    return await this.#measured("get", () =>
      this.using.run(url, options, async (limits) => {
        const open: ValueCall<Buffer> = {
          url,
          isRepeatable: true,
          at: async (transport, address) => (await transport.open(address, request, limits)).whole(),
        };
        return await askValues(open, this.using, limits);
      }),
    );
  }

  async exists(key: string, options: CallOptions = {}): Promise<boolean> {
    return (await this.metadata(key, options)) !== undefined;
  }

  /** Returns what is known of a value; undefined: it is missing, has expired, or is still being written. */
  async metadata(key: string, options: CallOptions = {}): Promise<ValueInfo | undefined> {
    return await orUndefined(this.ask({ kind: "head", url: this.urlOf(key) }, options));
  }

  /** Deletes a value. Resolves with whether there was one. Rejects with ValueConflict `locked`. */
  async delete(key: string, options: CallOptions = {}): Promise<boolean> {
    return await this.ask({ kind: "delete", url: this.urlOf(key) }, options);
  }

  /** Lists the values whose keys begin with a prefix, in byte order. */
  async *list(prefix = "", options: CallOptions = {}): AsyncGenerator<ValueInfo, void> {
    const { bucket } = this;
    const url = `cache://${bucket}`;
    const beginning = `${url}/`;
    for (let after = ""; ; ) {
      const { values, isTruncated } = await this.ask({ kind: "list", url, bucket, prefix, after }, options);
      yield* values;
      const last = values.at(-1);
      if (!isTruncated || last === undefined) return;
      after = last.url.slice(beginning.length);
    }
  }

  /** Counts and latencies of this client's calls, since it was created. */
  stats(): ValueClientStats {
    return this.#latency.report();
  }

  protected urlOf(key: string): string {
    return parseObjectUrl(`cache://${this.bucket}/${key}`).url;
  }

  /** Asks the members that keep a value. */
  protected ask<Q extends ValueQuestion>(question: Q, options: CallOptions, isRepeatable = true): Promise<ValueAnswerTo<Q>> {
    const { url } = question;
    return this.using.run(url, options, (limits) => {
      const at: ValueCall<ValueAnswerTo<Q>>["at"] = (transport, address) => transport.ask(address, question, limits);
      return askValues({ url, isRepeatable, at }, this.using, limits);
    });
  }

  /** Stores bytes. Those that are sent as they are made may take any time without a deadline of their own. */
  protected async putBody(key: string, body: ValueBody, options: PutValueOptions): Promise<ValueInfo> {
    const url = this.urlOf(key);
    const { ifMissing = false, whileWritten } = options;
    const request = { kind: "put", url, description: describe(url, options), ifMissing, whileWritten, body } as const;
    const isInMemory = body instanceof Uint8Array;
    const isRepeatable = isInMemory && !ifMissing && whileWritten !== "refuse";
    const isLong = !isInMemory && options.deadlineMs === undefined;
    return await this.#measured("put", () =>
      this.using.run(url, { ...options, isLong }, (limits) => {
        const at: ValueCall<ValueInfo>["at"] = (transport, address) => transport.send(address, request, limits);
        return askValues({ url, isRepeatable, at }, this.using, limits);
      }),
    );
  }

  async #measured<Result>(kind: "get" | "put", work: () => Promise<Result>): Promise<Result> {
    const begunMs = this.using.nowMs();
    try {
      const result = await work();
      this.#latency.record(kind, this.using.nowMs() - begunMs, "hit");
      return result;
    } catch (error) {
      const isMiss = CacheError.from(error).code === "NOT_FOUND";
      this.#latency.record(kind, this.using.nowMs() - begunMs, isMiss ? "miss" : "failure");
      throw error;
    }
  }
}

/** Returns the description of a new value in the options of a call. Throws INVALID_ARGUMENT. */
export function describe(url: string, { ttlSeconds, flags, metadata, contentType }: ValueOptions): ValueDescription {
  const description = { ttlSeconds, flags, metadata, contentType };
  checkDescription(url, description);
  return description;
}

/** Checks the options of a call that begins a value. */
export function checkValueOptions(options: ValueOptions): void {
  checkOptions(options, BEGIN_OPTIONS);
}

const BEGIN_OPTIONS: ReadonlySet<string> = new Set(VALUE_OPTIONS);

/** Checks the options of `put` and of its like. */
export function checkPutOptions(options: PutValueOptions): void {
  checkOptions(options, PUT_OPTIONS);
}

async function* asBytes(url: string, body: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array, void> {
  for await (const piece of body) {
    const bytes = typeof piece === "string" ? Buffer.from(piece) : piece;
    if (!(bytes instanceof Uint8Array)) throw new CacheError("INVALID_ARGUMENT", `${url}: the stream yields no bytes`);
    yield bytes;
  }
}
