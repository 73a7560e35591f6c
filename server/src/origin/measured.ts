import { type BucketRef, CacheError, type ErrorCode } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { type Landing, type OriginAnswer, type OriginBody, type OriginWrapper, withBody, wrap } from "./origin.js";
import { untilEnd } from "./passed-body.js";

/** How one request ended. */
export interface RequestReport {
  readonly ref: BucketRef;
  readonly operation: "fetch" | "stat" | "list" | "bucket" | "pass" | "write";
  /** `ok`: answered completely. `CANCELLED`: the caller did not need it, or the rest of it. */
  readonly outcome: "ok" | ErrorCode;
  /** Undefined if the request succeeded or was dropped. */
  readonly error: CacheError | undefined;
  /** Until the answer's head; undefined if none arrived. */
  readonly firstByteMs: number | undefined;
  readonly durationMs: number;
  /** Received bytes of the body. */
  readonly bytes: number;
}

const operationOf = { stat: "stat", list: "list", statBucket: "bucket", listBuckets: "list", pass: "pass" } as const;

/** Reports the end of every request: of each attempt if it stands inside of retries, of all attempts together outside of them. */
export function measured(onRequest: (report: RequestReport) => void, clock: Clock): OriginWrapper {
  return (next) =>
    wrap(next, {
      async fetch(request) {
        const running = new RunningRequest(request.ref, "fetch", onRequest, clock);
        try {
          const answer = await next.fetch(request);
          running.answered();
          return withBody(answer, new MeasuredBody(answer, running));
        } catch (error) {
          throw running.fail(error);
        }
      },
      async write(request) {
        const running = new RunningRequest(request.ref, "write", onRequest, clock);
        try {
          const answer = await next.write(request);
          running.answered();
          running.end("ok");
          return answer;
        } catch (error) {
          throw running.fail(error);
        }
      },
      async ask(question) {
        const running = new RunningRequest(question.ref, operationOf[question.kind], onRequest, clock);
        try {
          const answer = await next.ask(question);
          running.answered();
          return untilEnd(question, answer, {
            received: (bytes) => {
              running.bytes += bytes;
            },
            ended: (error) => (error === undefined ? running.end("ok") : running.fail(error)),
          });
        } catch (error) {
          throw running.fail(error);
        }
      },
    });
}

/** Ends its request with the last byte, although the connection may need more time. It receives the bytes itself, for the landing. */
class MeasuredBody implements OriginBody, Landing {
  readonly #answer: OriginAnswer;
  readonly #running: RunningRequest;
  #landing: Landing | undefined;

  constructor(answer: OriginAnswer, running: RunningRequest) {
    this.#answer = answer;
    this.#running = running;
  }

  land(landing: Landing): Promise<void> | undefined {
    this.#landing = landing;
    const running = this.#running;
    const landed = this.#answer.body.land(this);
    if (landed === undefined) {
      running.end("ok");
      return undefined;
    }
    return landed.then(
      () => running.end("ok"),
      (error: unknown) => {
        throw running.fail(error);
      },
    );
  }

  room(): Buffer {
    return this.#landing!.room();
  }

  landed(bytes: number): void {
    const running = this.#running;
    running.bytes += bytes;
    if (running.bytes === this.#answer.length) running.end("ok");
    this.#landing!.landed(bytes);
  }

  destroy(): void {
    this.#answer.body.destroy();
    this.#running.end("CANCELLED");
  }
}

/** A request that has not ended. Only its first end is reported. */
class RunningRequest {
  bytes = 0;
  readonly #ref: BucketRef;
  readonly #operation: RequestReport["operation"];
  readonly #onRequest: (report: RequestReport) => void;
  readonly #clock: Clock;
  readonly #startedMs: number;
  #firstByteMs: number | undefined;
  #hasEnded = false;

  constructor(ref: BucketRef, operation: RequestReport["operation"], onRequest: (report: RequestReport) => void, clock: Clock) {
    this.#ref = ref;
    this.#operation = operation;
    this.#onRequest = onRequest;
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
  }

  answered(): void {
    this.#firstByteMs = this.#clock.monotonicMs() - this.#startedMs;
  }

  end(outcome: RequestReport["outcome"], error?: CacheError): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const durationMs = this.#clock.monotonicMs() - this.#startedMs;
    const [ref, operation, firstByteMs, bytes] = [this.#ref, this.#operation, this.#firstByteMs, this.bytes];
    this.#onRequest({ ref, operation, outcome, error, firstByteMs, durationMs, bytes });
  }

  /** Reports the error and returns it. */
  fail(error: unknown): unknown {
    const known = CacheError.from(error);
    this.end(known.code, known);
    return error;
  }
}
