import { CacheError } from "@frontcache/proto";
import type { Clock } from "./clock.js";
import { tcpReach } from "./tcp-reach.js";

/** Looks whether somebody listens at an address: once for all who ask meanwhile. */
export class Lookout {
  readonly #looking = new Map<string, Promise<void>>();
  readonly #open = new AbortController();

  /** `timeoutMs`: how long a look takes at most, milliseconds. */
  constructor(
    private readonly clock: Clock,
    private readonly timeoutMs: number,
  ) {}

  /** Resolves when somebody listens at `host:port`; rejects when nobody does in time, and with CANCELLED after the close. */
  lookFor(hostPort: string): Promise<void> {
    let looking = this.#looking.get(hostPort);
    if (looking === undefined) {
      const { clock, timeoutMs } = this;
      const { signal } = this.#open;
      looking = tcpReach(hostPort, { clock, timeoutMs, signal }).finally(() => this.#looking.delete(hostPort));
      this.#looking.set(hostPort, looking);
    }
    return looking;
  }

  /** Ends the looks that are under way. */
  close(): void {
    this.#open.abort(new CacheError("CANCELLED", "the client was closed"));
  }
}
