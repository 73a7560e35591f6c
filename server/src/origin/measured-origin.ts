import { type BucketRef, CacheError, type ErrorCode, type ObjectInfo, type ObjectRef, type PrefixRef } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { Landing } from "./landing.js";
import type { Listing, ListPage, Origin, OriginAnswer, OriginBody, OriginRange } from "./origin.js";

/** What one request to a store came to, told when it is over. */
export interface OriginRequest {
  readonly operation: "fetch" | "stat" | "list" | "bucket";
  /** `ok`: answered to its end. `CANCELLED`: nobody needed it, or the rest of it. */
  readonly outcome: "ok" | ErrorCode;
  /** Until the answer's head; absent where none came. */
  readonly firstByteMs: number | undefined;
  readonly durationMs: number;
  /** Of the body, as far as they came. */
  readonly bytes: number;
}

/** Tells of every request that reaches the origin behind it. Stands right before a store, so that repeated ones count, too. */
export class MeasuredOrigin implements Origin {
  constructor(
    private readonly origin: Origin,
    private readonly onRequest: (request: OriginRequest) => void,
    private readonly clock: Clock,
  ) {}

  async fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer> {
    const running = new Running("fetch", this.onRequest, this.clock);
    try {
      const answer = await this.origin.fetch(ref, range, signal);
      running.answered();
      return { ...answer, body: new MeasuredBody(answer, running) };
    } catch (error) {
      throw running.fail(error);
    }
  }

  stat(ref: ObjectRef, signal: AbortSignal): Promise<ObjectInfo> {
    return this.#ask("stat", () => this.origin.stat(ref, signal));
  }

  list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing> {
    return this.#ask("list", () => this.origin.list(ref, page, signal));
  }

  statBucket(ref: BucketRef, signal: AbortSignal): Promise<void> {
    return this.#ask("bucket", () => this.origin.statBucket(ref, signal));
  }

  close(): void {
    this.origin.close();
  }

  /** A request whose answer has no body of bytes. */
  async #ask<Answer>(operation: OriginRequest["operation"], ask: () => Promise<Answer>): Promise<Answer> {
    const running = new Running(operation, this.onRequest, this.clock);
    try {
      const answer = await ask();
      running.answered();
      running.end("ok");
      return answer;
    } catch (error) {
      throw running.fail(error);
    }
  }
}

/** The request is over with its last byte, whatever its connection still waits for. */
class MeasuredBody implements OriginBody {
  constructor(
    private readonly answer: OriginAnswer,
    private readonly running: Running,
  ) {}

  async land(landing: Landing): Promise<void> {
    const { answer, running } = this;
    const landed = (bytes: number): void => {
      running.bytes += bytes;
      if (running.bytes === answer.length) running.end("ok");
      landing.landed(bytes);
    };
    try {
      await answer.body.land({ room: () => landing.room(), landed });
      running.end("ok");
    } catch (error) {
      throw running.fail(error);
    }
  }

  destroy(): void {
    this.answer.body.destroy();
    this.running.end("CANCELLED");
  }
}

/** A request under way. It ends once; what is told of its end later is too late. */
class Running {
  bytes = 0;
  readonly #begunMs: number;
  #firstByteMs: number | undefined;
  #over = false;

  constructor(
    private readonly operation: OriginRequest["operation"],
    private readonly onRequest: (request: OriginRequest) => void,
    private readonly clock: Clock,
  ) {
    this.#begunMs = clock.monotonicMs();
  }

  answered(): void {
    this.#firstByteMs = this.clock.monotonicMs() - this.#begunMs;
  }

  end(outcome: OriginRequest["outcome"]): void {
    if (this.#over) return;
    this.#over = true;
    const { operation, bytes } = this;
    const durationMs = this.clock.monotonicMs() - this.#begunMs;
    this.onRequest({ operation, outcome, firstByteMs: this.#firstByteMs, durationMs, bytes });
  }

  /** The error, told. */
  fail(error: unknown): unknown {
    this.end(CacheError.from(error).code);
    return error;
  }
}
