import { CacheError } from "@frontcache/proto";
import { type Backoff, backoffMs, sleep } from "@frontcache/proto/runtime";
import type { CircuitBreaker } from "./circuit-breaker.js";
import type { Clock } from "./clock.js";
import { type CallLimits, type MemberAddress, Unreachable } from "./ports.js";

/** Number and delays of attempts. */
export interface FailoverOptions {
  readonly clock: Clock;
  /** Its keys are gRPC addresses. */
  readonly breaker: CircuitBreaker;
  /** Maximum attempts in total, at least 1. */
  readonly attempts: number;
  /** Delays before retries of retryable errors; undefined: only unreachable members cause another attempt. */
  readonly backoff: Backoff | undefined;
  /** Fails when every member was unreachable, instead of waiting for one, because something else can answer. Absent: no. */
  readonly isReplaceable?: boolean | undefined;
  /** Called before each attempt except the first. */
  readonly onRepeat?: ((wasUnreachable: boolean) => void) | undefined;
}

/** A call that any of several members can answer. */
export interface Attempt<Result> {
  /** In order of preference; at least one. */
  readonly addresses: readonly MemberAddress[];
  at(address: MemberAddress): Promise<Result>;
  /** Called after a retryable error; false: it must not be retried. */
  mayRepeat?(): boolean;
}

/**
 * The only failover along the ring. Tries members in order until one succeeds, within the limits. If a member is unreachable, the
 * next one is tried immediately. After a retryable error, the next one is tried, or the same one again, after a delay. After an
 * invalid response (INTERNAL), one more attempt is made. Rejects with any other error, or with the last one. An error after which
 * the origin must not be asked again (`isOriginTried`) is final.
 */
export function withFailover<Result>(attempt: Attempt<Result>, limits: CallLimits, options: FailoverOptions): Promise<Result> {
  if (limits.ended !== undefined) return Promise.reject(limits.ended);
  const address = attempt.addresses[0]!;
  // Nearly all calls end here. An async function with a loop costs a small read more than its request does.
  return attempt.at(address).then(
    (result) => {
      options.breaker.succeeded(address.grpcAddress);
      return result;
    },
    (error: unknown) => withFurtherAttempts(attempt, limits, options, error),
  );
}

/** Makes further attempts after the first one has failed. */
async function withFurtherAttempts<Result>(
  attempt: Attempt<Result>,
  limits: CallLimits,
  { clock, breaker, attempts, backoff, isReplaceable, onRepeat }: FailoverOptions,
  firstFailure: unknown,
): Promise<Result> {
  const { addresses } = attempt;
  let failure = firstFailure;
  let wasWrong = false;
  let waits = 0;
  /** Consecutive attempts at unreachable members. */
  let unreachable = 0;
  for (let made = 1; ; made++) {
    if (limits.ended !== undefined) throw limits.ended;
    const error = CacheError.from(failure);
    const isUnreachable = error instanceof Unreachable;
    const { grpcAddress } = addresses[(made - 1) % addresses.length]!;
    unreachable = isUnreachable ? unreachable + 1 : 0;
    if (isUnreachable) breaker.failed(grpcAddress, error);
    else breaker.succeeded(grpcAddress);
    const isWrong = error.code === "INTERNAL";
    const mayPass = isUnreachable || (backoff !== undefined && (mayBeRepeated(error) || (isWrong && !wasWrong)));
    if (!mayPass || attempt.mayRepeat?.() === false || made >= attempts) throw error;
    if (isReplaceable && unreachable >= addresses.length) throw error;
    onRepeat?.(isUnreachable);
    wasWrong ||= isWrong;
    const isElsewhere = made % addresses.length !== 0;
    if (!isUnreachable || !isElsewhere) {
      if (backoff === undefined) throw error;
      await sleep(
        clock,
        backoffMs(backoff, ++waits, () => clock.random()),
        limits.signal,
      );
      if (limits.ended !== undefined) throw limits.ended;
    }
    const next = addresses[made % addresses.length]!;
    try {
      const result = await attempt.at(next);
      breaker.succeeded(next.grpcAddress);
      return result;
    } catch (thrown) {
      failure = thrown;
    }
  }
}

/** Returns whether the same request may succeed here or elsewhere, and no member has retried it already. */
function mayBeRepeated({ retryable, isOriginTried }: CacheError): boolean {
  return retryable && !isOriginTried;
}

/**
 * Returns the addresses in the order of attempts: those that answer, in the given order; then the unknown; then those with an
 * open circuit. Members before the first one that answers are probed in the background. Thus, if only the Service's address is
 * reachable, no read waits for unreachable addresses.
 */
export function orderByAvailability(addresses: readonly MemberAddress[], breaker: CircuitBreaker): readonly MemberAddress[] {
  const answering = addresses.filter(({ grpcAddress }) => breaker.isAnswering(grpcAddress));
  if (answering.length === addresses.length) return addresses;
  if (answering.length > 0) {
    for (const address of addresses) {
      if (address === answering[0]) break;
      breaker.probeIfDue(address.grpcAddress);
    }
  }
  const others = addresses.filter(({ grpcAddress }) => !breaker.isAnswering(grpcAddress));
  const unknown = others.filter(({ grpcAddress }) => !breaker.isBroken(grpcAddress));
  const broken = others.filter(({ grpcAddress }) => breaker.isBroken(grpcAddress));
  return [...answering, ...unknown, ...broken];
}
