import type { Membership } from "@frontcache/proto";

/**
 * The source of the member list, as a port. It starts when it is made. Its lists are immutable, one for each change. It never throws
 * and never forgets: while nothing can be learned, the last list stays.
 */
export interface MemberSource {
  /** The newest list; undefined before the first. */
  current(): Membership | undefined;
  /** Calls back with each new list, and at once with the newest if there is one. The returned function ends the subscription. */
  subscribe(listener: (membership: Membership) => void): () => void;
  /** The figures to measure, now. */
  report(): MemberSourceReport;
  /** Ends all connections, timers and listeners. May be called again. */
  close(): Promise<void>;
}

/** The state of a source as plain values. */
export interface MemberSourceReport {
  /** Milliseconds since the source last heard from the Kubernetes API, or since it started; 0 for a fixed list. */
  readonly ageMs: number;
  /** Failures to list or watch since the start. */
  readonly failures: number;
}

/** The source's first list. Rejects with the signal's reason if it is aborted before. */
export function firstMembership(source: MemberSource, signal: AbortSignal): Promise<Membership> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const known = source.current();
    if (known !== undefined) return resolve(known);
    const end = (): void => {
      unsubscribe();
      signal.removeEventListener("abort", onAbort);
    };
    const onAbort = (): void => {
      end();
      reject(signal.reason);
    };
    const unsubscribe = source.subscribe((membership) => {
      end();
      resolve(membership);
    });
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
