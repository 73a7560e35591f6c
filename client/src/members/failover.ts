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
export async function withFailover<Result>(
  attempt: Attempt<Result>,
  limits: CallLimits,
  { clock, breaker, attempts, backoff, onRepeat }: FailoverOptions,
): Promise<Result> {
  const { addresses } = attempt;
  let wasWrong = false;
  let waits = 0;
  for (let made = 1; ; made++) {
    if (limits.ended !== undefined) throw limits.ended;
    const address = addresses[(made - 1) % addresses.length]!;
    try {
      const result = await attempt.at(address);
      breaker.succeeded(address.grpcAddress);
      return result;
    } catch (thrown) {
      if (limits.ended !== undefined) throw limits.ended;
      const error = CacheError.from(thrown);
      const isUnreachable = error instanceof Unreachable;
      if (isUnreachable) breaker.failed(address.grpcAddress);
      else breaker.succeeded(address.grpcAddress);
      const isWrong = error.code === "INTERNAL";
      const mayPass = isUnreachable || (backoff !== undefined && (mayBeRepeated(error) || (isWrong && !wasWrong)));
      if (!mayPass || attempt.mayRepeat?.() === false || made >= attempts) throw error;
      onRepeat?.(isUnreachable);
      wasWrong ||= isWrong;
      const isElsewhere = made % addresses.length !== 0;
      if (isUnreachable && isElsewhere) continue;
      if (backoff === undefined) throw error;
      await sleep(
        clock,
        backoffMs(backoff, ++waits, () => clock.random()),
        limits.signal,
      );
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
