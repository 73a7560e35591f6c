import { setMaxListeners } from "node:events";
import { abortError, type BucketRef, CacheError, type ObjectRef } from "@frontcache/proto";
import { LinkedAbort, whenAborted } from "@frontcache/proto/runtime";
import type { ObjectHomes } from "../objects/object-homes.js";
import type { WriteStage } from "../objects/object-writes.js";
import { WRITE_MS } from "../objects/running-writes.js";
import { NotWritten, type Origin, type RequestContext, type WriteAnswer, type WriteRequest } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import type { Operation } from "../security/grants/grants.js";
import type { CopiedBody } from "./copied-body.js";
import type { ReceivedPieces, WriteBody } from "./payload.js";

/** Larger bodies are sent while they arrive. */
export const IN_MEMORY_BYTES = 256 << 10;

/** An operation that the principal of a write must be allowed. */
export interface RequiredGrant {
  readonly operation: Operation;
  /** A bucket: all of its keys. */
  readonly ref: ObjectRef | BucketRef;
}

/** A client's request that changes something in an object store. */
export interface WriteQuestion
  extends RequestContext,
    Pick<WriteRequest, "ref" | "method" | "json" | "query" | "headers" | "source"> {
  readonly kind: "write";
  /** All of them are required. */
  readonly grants: readonly RequiredGrant[];
  /** Objects whose record it changes. */
  readonly changes: readonly ObjectRef[];
  /** A document that is in memory, or a body that arrives. */
  readonly body: Uint8Array | WriteBody;
  /** The body is a document of at most this many bytes. Undefined: it is an object. */
  readonly bodyLimit?: number | undefined;
  /** In GCS's JSON API: whether the body is all bytes of the object, which may be cached. Absent: no. */
  readonly isWholeObject?: boolean | undefined;
  /** Whether the body was signed with its own SHA-256, in hexadecimal. */
  readonly sha256?: string | undefined;
  /** As in WriteRequest. */
  readonly mayRepeat: boolean;
}

/** The origin may have taken a write, or may yet take it, but its answer is unknown. */
export class OutcomeUnknown extends CacheError {
  constructor({ url }: BucketRef, cause: CacheError) {
    const message = `${url}: the origin may have taken the write, or not: read the object before you write it again`;
    super("UNAVAILABLE", message, { cause, s3Code: "InternalError", isOriginTried: true });
  }
}

/** Caches what clients write. */
export interface WrittenContents {
  /** A copy to fill with the body of a write, which has `length` bytes. The caller releases it. Undefined: the body is not cached. */
  copyOf(question: WriteQuestion, length: number): CopiedBody | undefined;
  /** Resolves when the copied body of a write is cached, if the object is still of the version that the origin answered with. */
  cache(ref: ObjectRef, answer: WriteAnswer, copy: CopiedBody, signal: AbortSignal): Promise<void>;
  /** Resolves when the end of an object that was completed in parts is cached. */
  cacheTail(ref: ObjectRef, signal: AbortSignal): Promise<void>;
}

export interface WriteThroughOptions {
  readonly objects: Pick<ObjectHomes, "written">;
  readonly origin: Pick<Origin, "write">;
  readonly clock: Pick<Clock, "after">;
  /** Absent: nothing is cached after a write. */
  readonly contents?: WrittenContents | undefined;
  /** Begins the ids of this process's writes: different for all processes of all members. */
  readonly idPrefix: string;
}

/** Sends writes of clients to their origins, in agreement with the members that decide about the written objects. */
export class WriteThrough {
  readonly #options: WriteThroughOptions;
  readonly #closing = new AbortController();
  #writes = 0;

  constructor(options: WriteThroughOptions) {
    this.#options = options;
    setMaxListeners(0, this.#closing.signal);
  }

  /**
   * Resolves with the origin's own answer, when each later read gets what was written. Rejects with OutcomeUnknown, or with NotWritten
   * or S3's error for a damaged body if nothing was written.
   */
  async run(question: WriteQuestion): Promise<WriteAnswer> {
    const running = new RunningWrite(question, {
      ...this.#options,
      id: `${this.#options.idPrefix}/${++this.#writes}`,
      closing: this.#closing.signal,
    });
    try {
      const answer = await running.send();
      await running.settle(outcomeOf(answer));
      await running.cache(answer);
      return answer;
    } catch (error) {
      throw await running.fail(error);
    } finally {
      running.end();
    }
  }

  /** Writes that run are aborted; their outcome is unknown then. */
  close(): void {
    this.#closing.abort(new CacheError("UNAVAILABLE", "the member is closing"));
  }
}

interface RunningWriteOptions extends WriteThroughOptions {
  readonly id: string;
  /** Aborted when the member closes. */
  readonly closing: AbortSignal;
}

/** One write, from its body to its outcome. */
class RunningWrite {
  readonly #question: WriteQuestion;
  readonly #options: RunningWriteOptions;
  /** Aborted if the client disconnects before the end of its body, or the member closes. */
  readonly #abort: LinkedAbort;
  readonly #unlinkClient: () => void;
  #cancelTimer: () => void = () => {};
  #hasBegun = false;
  #copy: CopiedBody | undefined;

  constructor(question: WriteQuestion, options: RunningWriteOptions) {
    this.#question = question;
    this.#options = options;
    this.#abort = new LinkedAbort(options.closing);
    this.#unlinkClient = whenAborted(question.signal, () => this.#abort.abort(abortError(question.signal)));
  }

  async send(): Promise<WriteAnswer> {
    const { ref, method, json, query, headers, source, body, sha256, mayRepeat, principal } = this.#question;
    const request = { ref, method, json, query, headers, source, mayRepeat, principal, signal: this.#abort.signal };
    const { bodyLimit } = this.#question;
    if (body instanceof Uint8Array || bodyLimit !== undefined || (body.length ?? Number.POSITIVE_INFINITY) <= IN_MEMORY_BYTES) {
      const bytes = body instanceof Uint8Array ? body : await body.whole(bodyLimit ?? IN_MEMORY_BYTES);
      const trailed: [string, string][] =
        !(body instanceof Uint8Array) && body.trailer !== undefined ? [[body.trailer, body.trailerValue!]] : [];
      this.#copy = this.#options.contents?.copyOf(this.#question, bytes.length);
      this.#copy?.add(bytes);
      await this.#begin();
      return this.#options.origin.write({ ...request, headers: [...headers, ...trailed], body: bytes });
    }
    const { length, trailer } = body;
    const pieces = body.pieces(() => this.#begin());
    this.#copy = length === undefined ? undefined : this.#options.contents?.copyOf(this.#question, length);
    const streamed = {
      length,
      pieces: this.#copy === undefined ? pieces : copied(pieces, this.#copy),
      sha256,
      trailer: trailer === undefined ? undefined : trailerOf(trailer, body),
    };
    return this.#options.origin.write({ ...request, body: streamed });
  }

  /** Reports how the write ended. Resolves when each later read knows. */
  async settle(stage: Exclude<WriteStage, "begun">): Promise<void> {
    this.#cancelTimer();
    if (this.#hasBegun) await this.#report(stage);
  }

  /** Caches what was written, for the next read. Never rejects. */
  async cache(answer: WriteAnswer): Promise<void> {
    const { contents, closing } = this.#options;
    const { ref, method, query } = this.#question;
    if (contents === undefined || answer.status !== 200 || !("key" in ref)) return;
    const [copy, isCompleted] = [this.#copy, method === "POST" && query.some(([name]) => name === "uploadId")];
    // The client need not wait for what is read again.
    if (isCompleted) void contents.cacheTail(ref, closing).catch(() => {});
    if (copy?.complete === true) await contents.cache(ref, answer, copy, closing).catch(() => {}); // the next read asks the origin
  }

  /** The error to reject with. */
  async fail(thrown: unknown): Promise<CacheError> {
    const error = CacheError.from(thrown);
    const isRefused = !this.#hasBegun || error instanceof NotWritten;
    // If the report fails, the deciding member asks the origin for a while all the same.
    await this.settle(isRefused ? "refused" : "unknown").catch(() => {});
    return isRefused ? error : new OutcomeUnknown(this.#question.ref, error);
  }

  end(): void {
    this.#cancelTimer();
    this.#unlinkClient();
    this.#abort.unlink();
    this.#copy?.release();
  }

  /** All that precedes the moment from which on the origin may take the write. From then on the client cannot abort it. */
  async #begin(): Promise<void> {
    this.#hasBegun = true;
    await this.#report("begun");
    if (this.#abort.signal.aborted) throw CacheError.from(this.#abort.signal.reason);
    this.#unlinkClient();
    this.#repeat();
  }

  #repeat(): void {
    if (this.#question.changes.length === 0) return;
    this.#cancelTimer = this.#options.clock.after(WRITE_MS / 3, () => {
      this.#report("begun").catch(() => {}); // it is reported again, or its end is
      this.#repeat();
    });
  }

  async #report(stage: WriteStage): Promise<void> {
    const { objects, id, closing } = this.#options;
    const write = { id, stage };
    await Promise.all(this.#question.changes.map((ref) => objects.written(ref, write, closing)));
  }
}

/** The pieces of a body, each of which is copied before it is sent. */
function copied(pieces: ReceivedPieces, copy: CopiedBody): ReceivedPieces {
  const copying = (async function* (): AsyncGenerator<Buffer, void> {
    for await (const piece of pieces) {
      copy.add(piece);
      yield piece;
    }
  })();
  return { [Symbol.asyncIterator]: () => copying, taken: (piece) => pieces.taken?.(piece) };
}

function trailerOf(name: string, payload: WriteBody) {
  return { name, valueLength: payload.trailerLength, value: () => payload.trailerValue! };
}

/** What an answer says about the write. Errors inside of an answer with status 200 count as written: the record is read again. */
function outcomeOf({ status }: WriteAnswer): Exclude<WriteStage, "begun"> {
  if (status >= 200 && status < 300) return "written";
  // GCS has a part of an upload, and expects more.
  if (status === 308) return "refused";
  return status >= 400 && status < 500 ? "refused" : "unknown";
}
