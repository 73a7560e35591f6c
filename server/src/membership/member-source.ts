import type { Membership } from "@frontcache/proto";

/**
 * Where members come from, as a port. It begins when it is made. Its lists are immutable, one for each change; it never
 * throws and never forgets: while nothing can be learned, the last list stays.
 */
export interface MemberSource {
  /** The newest list; undefined until the first is known. */
  current(): Membership | undefined;
  /** Calls back with each new list, and at once with the newest if there is one. The returned function ends it. */
  subscribe(listener: (membership: Membership) => void): () => void;
  /** What to measure, now. */
  report(): MemberSourceReport;
  /** Ends everything it holds: connections, timers, listeners. Harmless when repeated. */
  close(): Promise<void>;
}

/** The state of a source as plain values. */
export interface MemberSourceReport {
  /** On the newest list. */
  readonly members: number;
  /** Lists after the first. */
  readonly changes: number;
  /** Seconds since the source last heard anything of who is a member; 0 for a fixed list; Infinity before the first word. */
  readonly silentSeconds: number;
  /** Failures to list or watch since the start. */
  readonly failures: number;
}

/** The source's first list; rejects with the signal's reason when it is aborted before. */
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
