import { CacheError } from "@frontcache/proto";
import { type Backoff, backoffMs, sleep } from "@frontcache/proto/runtime";
import type { Reach } from "./circuit-breaker.js";
import type { Clock } from "./clock.js";
import { type CallLimits, type MemberAddress, Unreachable } from "./transport.js";

/** How often and how fast something is tried again. */
export interface FailoverOptions {
  readonly clock: Clock;
  readonly reach: Reach;
  /** Tries in all, at least 1. */
  readonly attempts: number;
  /** The waits between tries that do not go straight to another member. */
  readonly backoff: Backoff;
  /** Told before each try but the first; absent: nobody asks. */
  readonly onRepeat?: ((wasOutOfReach: boolean) => void) | undefined;
}

/** One thing to do at the first member that can. */
export interface Attempt<Result> {
  /** In order of preference; at least one. */
  readonly addresses: readonly MemberAddress[];
  at(address: MemberAddress): Promise<Result>;
  /** Asked after a failure that may pass; false: it must not be tried again. */
  mayRepeat?(): boolean;
}

/**
 * Tries the members in turn until one does it, within the limits. A member out of reach: the next one at once. An error that
 * may pass: the next one, or the same again, after a wait. An answer that can't be right (INTERNAL): once more. Any other
 * error, or too many: rejects with it.
 */
export async function withFailover<Result>(
  attempt: Attempt<Result>,
  limits: CallLimits,
  { clock, reach, attempts, backoff, onRepeat }: FailoverOptions,
): Promise<Result> {
  const addresses = reach.order(attempt.addresses);
  let wasWrong = false;
  let waits = 0;
  for (let made = 1; ; made++) {
    if (limits.ended !== undefined) throw limits.ended;
    const address = addresses[(made - 1) % addresses.length]!;
    try {
      const result = await attempt.at(address);
      reach.answered(address);
      return result;
    } catch (thrown) {
      if (limits.ended !== undefined) throw limits.ended;
      const error = CacheError.from(thrown);
      const outOfReach = error instanceof Unreachable;
      if (outOfReach) reach.lost(address);
      else reach.answered(address);
      const wrong = error.code === "INTERNAL";
      const mayPass = error.retryable || (wrong && !wasWrong);
      if (!mayPass || attempt.mayRepeat?.() === false || made >= attempts) throw error;
      onRepeat?.(outOfReach);
      wasWrong ||= wrong;
      const elsewhere = made % addresses.length !== 0;
      if (!(outOfReach && elsewhere))
        await sleep(
          clock,
          backoffMs(backoff, ++waits, () => clock.random()),
          limits.signal,
        );
    }
  }
}
