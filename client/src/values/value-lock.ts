import { randomUUID } from "node:crypto";

/** The duration of a lock that is not renewed, and the interval of its renewals. */
const LOCK_SECONDS = 60;
const RENEW_MS = 20_000;

type After = (ms: number, run: () => void) => () => void;
/** Extends the lock of a holder; 0 seconds: ends it. */
type Send = (holder: string, seconds: number) => Promise<void>;

/** A lock of a value, which is renewed until it is released. */
export class ValueLock implements AsyncDisposable {
  readonly #send: Send;
  readonly #after: After;
  readonly #holder = randomUUID();
  #cancel: () => void = () => {};
  #isReleased = false;

  private constructor(send: Send, after: After) {
    this.#send = send;
    this.#after = after;
  }

  /** Takes a lock by such requests. */
  static async take(send: Send, { after }: { readonly after: After }): Promise<ValueLock> {
    const lock = new ValueLock(send, after);
    await lock.#renew();
    return lock;
  }

  /** Ends the lock. */
  async release(): Promise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#cancel();
    await this.#send(this.#holder, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  async #renew(): Promise<void> {
    await this.#send(this.#holder, LOCK_SECONDS);
    if (this.#isReleased) return;
    this.#cancel = this.#after(RENEW_MS, () => {
      // A renewal that fails is repeated while the lock lasts.
      void this.#renew().catch(() => {
        if (!this.#isReleased) this.#cancel = this.#after(RENEW_MS / 4, () => void this.#renew().catch(() => {}));
      });
    });
  }
}
