import type { HttpBody, Landing } from "@frontcache/client/http";

/** The body of a response whose bytes are in memory, in pieces as they arrive, and then perhaps an error. */
export class MemoryHttpBody implements HttpBody {
  complete = false;
  /** The reason it was destroyed for; "none" without one; undefined: it was not destroyed. */
  destroyed: Error | "none" | undefined;
  readonly #pieces: readonly Buffer[];
  readonly #error: Error | undefined;

  constructor(pieces: readonly Buffer[], error?: Error) {
    this.#pieces = pieces;
    this.#error = error;
  }

  async land(landing: Landing): Promise<void> {
    for (const piece of this.#pieces) {
      for (let at = 0; at < piece.length; ) {
        await undefined;
        if (this.destroyed instanceof Error) throw this.destroyed;
        const copied = piece.copy(landing.room(), 0, at);
        at += copied;
        landing.landed(copied);
      }
    }
    if (this.#error !== undefined) throw this.#error;
    this.complete = true;
  }

  pause(): void {}

  resume(): void {}

  destroy(reason?: Error): void {
    this.destroyed ??= reason ?? "none";
  }
}
