import { CacheError } from "@frontcache/proto";
import { UnusableAnswer } from "./checked-answer.js";
import type { AnswerTo, OriginQuestion, PassedAnswer, PassedBody, PassQuestion } from "./origin.js";

/** Is informed of the progress of an answer's body. */
export interface BodyObserver {
  /** The body's reader waits for bytes. */
  waiting?(): void;
  received?(bytes: number): void;
  /** Called once. No error: the body is complete. CANCELLED: its reader has dropped it. */
  ended(error?: unknown): void;
}

/**
 * Observes an answer until its end. Only a passed answer has a body; all others have ended already. Returns the answer to use in place
 * of the given one.
 */
export function untilEnd<Q extends OriginQuestion>(question: Q, answer: AnswerTo<Q>, observer: BodyObserver): AnswerTo<Q> {
  if (question.kind !== "pass") {
    observer.ended();
    return answer;
  }
  const passed = answer as PassedAnswer;
  return { ...passed, body: new ObservedBody(passed.body, observer, question) } as PassedAnswer as AnswerTo<Q>;
}

/** Drops an answer for which nobody waits any more. */
export function dropAnswer<Q extends OriginQuestion>(question: Q, answer: AnswerTo<Q>): void {
  if (question.kind === "pass") (answer as PassedAnswer).body.destroy();
}

/** A body that is in memory. */
export function bodyOf(bytes: Uint8Array): PassedBody {
  return {
    async *[Symbol.asyncIterator]() {
      if (bytes.length > 0) yield bytes;
    },
    destroy() {},
  };
}

/** The whole body of a passed answer. Rejects with UNAVAILABLE, and drops the rest, if it is longer than `maxBytes`. */
export async function wholeBody({ body }: PassedAnswer, { ref }: PassQuestion, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new UnusableAnswer(ref, `is longer than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

class ObservedBody implements PassedBody {
  readonly #body: PassedBody;
  readonly #observer: BodyObserver;
  readonly #url: string;
  #hasEnded = false;

  constructor(body: PassedBody, observer: BodyObserver, { ref }: PassQuestion) {
    this.#body = body;
    this.#observer = observer;
    this.#url = ref.url;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    try {
      this.#observer.waiting?.();
      for await (const chunk of this.#body) {
        this.#observer.received?.(chunk.length);
        yield chunk;
        this.#observer.waiting?.();
      }
      this.#end();
    } catch (error) {
      this.#end(error);
      throw error;
    } finally {
      this.destroy();
    }
  }

  destroy(): void {
    this.#body.destroy();
    this.#end(new CacheError("CANCELLED", `${this.#url}: the origin's answer was dropped`));
  }

  #end(error?: unknown): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#observer.ended(error);
  }
}
