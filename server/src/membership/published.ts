import type { Membership } from "@frontcache/proto";

/** The newest list and those who want each new one. */
export class Published {
  #current: Membership | undefined;
  #changes = 0;
  readonly #listeners = new Set<(membership: Membership) => void>();

  get current(): Membership | undefined {
    return this.#current;
  }

  /** Lists after the first. */
  get changes(): number {
    return this.#changes;
  }

  /** Makes a list the newest one and tells everyone; one that equals the newest is no change. */
  publish(membership: Membership): void {
    if (membership.hash === this.#current?.hash) return;
    if (this.#current !== undefined) this.#changes++;
    this.#current = membership;
    for (const listener of [...this.#listeners]) listener(membership);
  }

  subscribe(listener: (membership: Membership) => void): () => void {
    // One function a subscription, so that the same listener may subscribe twice.
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
