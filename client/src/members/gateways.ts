import { type Backoff, backoffMs } from "@frontcache/proto/runtime";
import type { Clock } from "./clock.js";

/** How gateways that failed are treated. */
export interface GatewaysOptions {
  readonly clock: Clock;
  /** How long a gateway is left aside after its first, second, ... failure in a row. */
  readonly asideFor: Backoff;
  /** Resolves when somebody listens at a gateway's address; settles in bounded time. */
  readonly lookFor: (httpAddress: string) => Promise<void>;
}

interface Aside {
  readonly failures: number;
  /** When it is looked for again; undefined: it was found, and the next read may try it. */
  readonly untilMs: number | undefined;
}

/**
 * Which gateways to read from. One that failed, while its member may answer by gRPC, is left aside for a while; then it is
 * looked for in the background, and tried by the next read once somebody listens there. A read finds out, the others don't pay.
 */
export class Gateways {
  readonly #options: GatewaysOptions;
  readonly #aside = new Map<string, Aside>();
  readonly #looking = new Set<string>();

  constructor(options: GatewaysOptions) {
    this.#options = options;
  }

  /** Whether to read from a gateway now. */
  usable(httpAddress: string): boolean {
    if (this.#aside.size === 0) return true;
    const aside = this.#aside.get(httpAddress);
    if (aside?.untilMs === undefined) return true;
    if (this.#options.clock.monotonicMs() >= aside.untilMs) this.#look(httpAddress, aside);
    return false;
  }

  worked(httpAddress: string): void {
    if (this.#aside.size > 0) this.#aside.delete(httpAddress);
  }

  /** Reads that failed together count as one failure. */
  failed(httpAddress: string): void {
    const { clock, asideFor } = this.#options;
    const before = this.#aside.get(httpAddress);
    if (before?.untilMs !== undefined && clock.monotonicMs() < before.untilMs) return;
    const failures = (before?.failures ?? 0) + 1;
    this.#aside.set(httpAddress, {
      failures,
      untilMs: clock.monotonicMs() + backoffMs(asideFor, failures, () => clock.random()),
    });
  }

  /** Forgets all gateways but these. */
  keepOnly(httpAddresses: ReadonlySet<string | undefined>): void {
    for (const httpAddress of this.#aside.keys()) if (!httpAddresses.has(httpAddress)) this.#aside.delete(httpAddress);
  }

  #look(httpAddress: string, { failures }: Aside): void {
    if (this.#looking.has(httpAddress)) return;
    this.#looking.add(httpAddress);
    void this.#options
      .lookFor(httpAddress)
      .then(
        () => this.#aside.has(httpAddress) && this.#aside.set(httpAddress, { failures, untilMs: undefined }),
        () => this.#aside.has(httpAddress) && this.failed(httpAddress),
      )
      .finally(() => this.#looking.delete(httpAddress));
  }
}
