import type { Membership } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";

/**
 * The source of the member list, as a port. It starts when it is created. Each change produces a new immutable list. It never
 * throws. While its API is unreachable, the last list stays current.
 */
export interface MemberSource {
  /** The current list; undefined before the first. */
  current(): Membership | undefined;
  /** Calls back with each new list, and immediately with the current one, if any. The returned function ends the subscription. */
  subscribe(listener: (membership: Membership) => void): () => void;
  /** Returns the current state for metrics. */
  report(): MemberSourceReport;
  /** Ends all connections, timers and listeners. May be called again. */
  close(): Promise<void>;
}

/** The state of a source as plain values. */
export interface MemberSourceReport {
  /** Milliseconds since the last response of the Kubernetes API, or since the start; 0 for a static list. */
  readonly ageMs: number;
  /** Failures to list or watch since the start. */
  readonly failures: number;
}

/** Waits for the source's first list. Rejects with `abortError(signal)` if the signal is aborted first. */
export async function firstMembership(source: MemberSource, signal: AbortSignal): Promise<Membership> {
  let unsubscribe = (): void => {};
  const first = new Promise<Membership>((resolve) => {
    unsubscribe = source.subscribe(resolve);
  });
  return untilAborted(first, signal).finally(unsubscribe);
}
