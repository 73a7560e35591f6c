import type { Clock, Random } from "../runtime/clock.js";
import { type OriginWrapper, withBody, wrap } from "./origin.js";
import { untilEnd } from "./passed-body.js";
import { fetchUntilAnswered, ResumingBody } from "./resuming-body.js";
import { type Attempt, AttemptTimeouts, Retries, type RetryContext, type RetryOptions } from "./retries.js";

/** How requests are repeated. */
export interface RetryingOptions extends RetryOptions {
  /** For questions whose caller has a fallback. */
  readonly withFallback: Pick<RetryOptions, "attempts" | "headTimeoutMs">;
}

/**
 * Repeats requests that fail by throttling, resets, 5xx and stalls. A body that ends early or stalls is resumed after its last
 * byte under the same version. RESOURCE_EXHAUSTED and UNAVAILABLE are final for the caller: they say that the origin was tried
 * (`isOriginTried`). All attempts of one read share its budget.
 */
export function retrying(options: RetryingOptions, clock: Clock, random: Random): OriginWrapper {
  return (next) => {
    const context: RetryContext = { clock, random, timeouts: new AttemptTimeouts(clock) };
    return wrap(next, {
      async fetch(request) {
        const retries = new Retries(options, context, request);
        const first = await fetchUntilAnswered(next, request, retries, request.signal);
        return withBody(first.answer, new ResumingBody({ request, first, next, retries }));
      },
      async ask(question) {
        const hasFallback = question.kind === "stat" && question.hasFallback;
        const own = hasFallback ? { ...options, ...options.withFallback } : options;
        const retries = new Retries(own, context, question);
        const send = ({ signal, permit }: Attempt) => next.ask({ ...question, signal, permit });
        const { answer, attempt } = await retries.send(send, question.signal);
        return untilEnd(question, answer, {
          waiting: () => attempt.wait(retries.idleTimeouts),
          received: () => attempt.rest(),
          ended: () => attempt.end(),
        });
      },
    });
  };
}
