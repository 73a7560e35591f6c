import { CacheError } from "@frontcache/proto";
import { type Backoff, backoffMs } from "@frontcache/proto/runtime";
import type { Clock } from "./clock.js";
import type { MemberAddress } from "./transport.js";

/** How members out of reach are treated. */
export interface ReachOptions {
  readonly clock: Clock;
  /** How long a member is left aside after its first, second, ... failure in a row. */
  readonly asideFor: Backoff;
  /** Tries to connect; resolves when that worked. It settles in bounded time, and at once when the signal is aborted. */
  readonly probe: (address: MemberAddress, signal: AbortSignal) => Promise<void>;
}

interface Aside {
  readonly failures: number;
  readonly untilMs: number;
}

/**
 * Which members answer, so that of all reads only one pays for finding out that one does not. A member that was lost is left
 * aside; once its time is over, the next read that would have gone to it has it probed in the background and goes elsewhere
 * once more. A member never reached before is probed the same way while another one is known to answer: where only the
 * Service's address can be reached, no read waits for addresses that never will.
 */
export class Reach {
  readonly #options: ReachOptions;
  readonly #answering = new Set<string>();
  readonly #aside = new Map<string, Aside>();
  readonly #probes = new Map<string, Promise<void>>();
  readonly #open = new AbortController();

  constructor(options: ReachOptions) {
    this.#options = options;
  }

  /** The addresses in the order to try them: those that answer, in the given order; then the unknown; then those left aside. */
  order(addresses: readonly MemberAddress[]): MemberAddress[] {
    const answering = addresses.filter(({ grpcAddress }) => this.#answering.has(grpcAddress));
    if (answering.length === addresses.length) return answering;
    if (answering.length > 0) {
      for (const address of addresses) {
        if (address === answering[0]) break;
        this.#probeWhenDue(address);
      }
    }
    const unknown = addresses.filter(({ grpcAddress }) => !this.#answering.has(grpcAddress) && !this.#aside.has(grpcAddress));
    const aside = addresses.filter(({ grpcAddress }) => this.#aside.has(grpcAddress));
    return [...answering, ...unknown, ...aside];
  }

  /** The member answered, be it with an error. */
  answered({ grpcAddress }: MemberAddress): void {
    this.#answering.add(grpcAddress);
    if (this.#aside.size > 0) this.#aside.delete(grpcAddress);
  }

  /** The member could not be reached. Reads that failed together count as one failure. */
  lost({ grpcAddress }: MemberAddress): void {
    const { clock, asideFor } = this.#options;
    this.#answering.delete(grpcAddress);
    const before = this.#aside.get(grpcAddress);
    if (before !== undefined && clock.monotonicMs() < before.untilMs) return;
    const failures = (before?.failures ?? 0) + 1;
    this.#aside.set(grpcAddress, {
      failures,
      untilMs: clock.monotonicMs() + backoffMs(asideFor, failures, () => clock.random()),
    });
  }

  /** Forgets all members but these. */
  keepOnly(addresses: readonly MemberAddress[]): void {
    const kept = new Set(addresses.map(({ grpcAddress }) => grpcAddress));
    for (const grpcAddress of this.#answering) if (!kept.has(grpcAddress)) this.#answering.delete(grpcAddress);
    for (const grpcAddress of this.#aside.keys()) if (!kept.has(grpcAddress)) this.#aside.delete(grpcAddress);
  }

  /** Ends the probes that run, and begins no more. */
  async close(): Promise<void> {
    this.#open.abort(new CacheError("CANCELLED", "the client was closed"));
    await Promise.all(this.#probes.values());
  }

  #probeWhenDue(address: MemberAddress): void {
    const { grpcAddress } = address;
    if (this.#probes.has(grpcAddress) || this.#open.signal.aborted) return;
    const aside = this.#aside.get(grpcAddress);
    if (aside !== undefined && this.#options.clock.monotonicMs() < aside.untilMs) return;
    const probe = this.#options.probe(address, this.#open.signal).then(
      () => this.answered(address),
      () => this.lost(address),
    );
    this.#probes.set(
      grpcAddress,
      probe.finally(() => this.#probes.delete(grpcAddress)),
    );
  }
}
