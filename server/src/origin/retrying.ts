import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Clock, Random } from "../runtime/clock.js";
import { type OriginRequest, type OriginWrapper, wrap } from "./origin.js";
import { untilEnd } from "./passed-body.js";
import { ResumingBody } from "./resuming-body.js";
import { type Attempt, Retries, type RetryOptions } from "./retries.js";

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
  return (next) =>
    wrap(next, {
      async fetch(request) {
        const retries = new Retries(options, clock, random, request);
        // One signal for the caller's abort and for `destroy`: it ends the running request or delay.
        const abort = new LinkedAbort(request.signal);
        const send = (part: OriginRequest) =>
          retries.send(({ signal, permit }) => next.fetch({ ...part, signal, permit }), abort.signal);
        try {
          const first = await send(request);
          return { ...first.answer, body: new ResumingBody({ request, first, send, retries, abort }) };
        } catch (error) {
          abort.unlink();
          throw error;
        }
      },
      async ask(question) {
        const hasFallback = question.kind === "stat" && question.hasFallback;
        const own = hasFallback ? { ...options, ...options.withFallback } : options;
        const retries = new Retries(own, clock, random, question);
        const send = ({ signal, permit }: Attempt) => next.ask({ ...question, signal, permit });
        const { answer, attempt } = await retries.send(send, question.signal);
        return untilEnd(question, answer, {
          waiting: () => attempt.wait(retries.idleTimeoutMs),
          received: () => attempt.rest(),
          ended: () => attempt.end(),
        });
      },
    });
}
