import type { Clock } from "./clock.js";

/** How what stands still is found gone. */
export interface StallGuardOptions {
  readonly clock: Clock;
  /** How long nothing may arrive before the member is looked for, milliseconds. */
  readonly afterMs: number;
  /** Rejects when the member is gone. */
  readonly lookFor: () => Promise<void>;
}

/**
 * Finds out that a member vanished without closing its connections (its machine lost power or network): when nothing has
 * arrived for a while, it is looked for. A member that is there may take as long as it needs, for its origin may be slow.
 */
export class StallGuard {
  readonly #options: StallGuardOptions;
  #progressed = false;
  #ended = false;
  #cancelTimer: () => void = () => undefined;

  /** `onGone` is called at most once. */
  constructor(
    options: StallGuardOptions,
    private readonly onGone: () => void,
  ) {
    this.#options = options;
    this.#arm();
  }

  /** Something has arrived. */
  progress(): void {
    this.#progressed = true;
  }

  end(): void {
    this.#ended = true;
    this.#cancelTimer();
  }

  #arm(): void {
    this.#progressed = false;
    this.#cancelTimer = this.#options.clock.after(this.#options.afterMs, () => {
      if (this.#progressed) this.#arm();
      else void this.#look();
    });
  }

  async #look(): Promise<void> {
    const there = await this.#options.lookFor().then(
      () => true,
      () => false,
    );
    if (this.#ended) return;
    if (there || this.#progressed) this.#arm();
    else this.onGone();
  }
}
