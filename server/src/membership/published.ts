import type { Membership } from "@frontcache/proto";

/** The newest list and its subscribers. */
export class Published {
  #current: Membership | undefined;
  readonly #listeners = new Set<(membership: Membership) => void>();

  get current(): Membership | undefined {
    return this.#current;
  }

  /** Makes a list the newest and calls all subscribers. A list equal to the newest is no change. */
  publish(membership: Membership): void {
    if (membership.hash === this.#current?.hash) return;
    this.#current = membership;
    for (const listener of [...this.#listeners]) listener(membership);
  }

  subscribe(listener: (membership: Membership) => void): () => void {
    // One function for each subscription: the same listener may subscribe twice.
    const own = (membership: Membership): void => listener(membership);
    this.#listeners.add(own);
    if (this.#current !== undefined) own(this.#current);
    return () => {
      this.#listeners.delete(own);
    };
  }

  close(): void {
    this.#listeners.clear();
  }
}
