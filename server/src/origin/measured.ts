import { CacheError, type ErrorCode } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { type Landing, type OriginAnswer, type OriginBody, type OriginWrapper, wrap } from "./origin.js";

/** How one request to a store ended. */
export interface RequestReport {
  readonly operation: "fetch" | "stat" | "list" | "bucket";
  /** `ok`: answered completely. `CANCELLED`: the caller did not need it, or the rest of it. */
  readonly outcome: "ok" | ErrorCode;
  /** Until the answer's head; undefined if none arrived. */
  readonly firstByteMs: number | undefined;
  readonly durationMs: number;
  /** Received bytes of the body. */
  readonly bytes: number;
}

const operationOf = { stat: "stat", list: "list", statBucket: "bucket" } as const;

/** Reports every request that reaches a store. Wraps the store directly, inside of retries, so that each attempt counts. */
export function measured(onRequest: (report: RequestReport) => void, clock: Clock): OriginWrapper {
  return (next) =>
    wrap(next, {
      async fetch(request) {
        const running = new RunningRequest("fetch", onRequest, clock);
        try {
          const answer = await next.fetch(request);
          running.answered();
          return { ...answer, body: new MeasuredBody(answer, running) };
        } catch (error) {
          throw running.fail(error);
        }
      },
      async ask(question) {
        const running = new RunningRequest(operationOf[question.kind], onRequest, clock);
        try {
          const answer = await next.ask(question);
          running.answered();
          running.end("ok");
          return answer;
        } catch (error) {
          throw running.fail(error);
        }
      },
    });
}

/** Ends its request with the last byte, although the connection may need more time. */
class MeasuredBody implements OriginBody {
  readonly #answer: OriginAnswer;
  readonly #running: RunningRequest;

  constructor(answer: OriginAnswer, running: RunningRequest) {
    this.#answer = answer;
    this.#running = running;
  }

  async land(landing: Landing): Promise<void> {
    const [answer, running] = [this.#answer, this.#running];
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
    this.#answer.body.destroy();
    this.#running.end("CANCELLED");
  }
}

/** A request that has not ended. Only its first end is reported. */
class RunningRequest {
  bytes = 0;
  readonly #operation: RequestReport["operation"];
  readonly #onRequest: (report: RequestReport) => void;
  readonly #clock: Clock;
  readonly #startedMs: number;
  #firstByteMs: number | undefined;
  #hasEnded = false;

  constructor(operation: RequestReport["operation"], onRequest: (report: RequestReport) => void, clock: Clock) {
    this.#operation = operation;
    this.#onRequest = onRequest;
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
  }

  answered(): void {
    this.#firstByteMs = this.#clock.monotonicMs() - this.#startedMs;
  }

  end(outcome: RequestReport["outcome"]): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const durationMs = this.#clock.monotonicMs() - this.#startedMs;
    this.#onRequest({ operation: this.#operation, outcome, firstByteMs: this.#firstByteMs, durationMs, bytes: this.bytes });
  }

  /** Reports the error and returns it. */
  fail(error: unknown): unknown {
    this.end(CacheError.from(error).code);
    return error;
  }
}
