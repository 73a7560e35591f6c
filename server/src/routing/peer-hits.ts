/** A member that did not have this many blocks in a row is asked only for a sample of the blocks. */
const MAX_MISSES = 64;
/** A sample is at first one block in 8. It gets smaller with each block that the member did not have, and is at least one block in 64. */
const MISSES_PER_SKIP = 8;
const MAX_SKIPS = 64;

/**
 * Decides whether a member is worth asking for a block before the origin, since the last change of the member list. After a change,
 * another member has the blocks that it owned before, and the first questions find some of them. In a cluster that does not change, it
 * nearly always has none, and each question costs both members a request. One block of the sample that it has makes it worth asking for
 * all blocks again.
 */
export class PeerHits {
  #missesInARow = 0;
  #skipped = 0;

  /** Call it once for each block. */
  isWorthAsking(): boolean {
    if (this.#missesInARow < MAX_MISSES) return true;
    if (++this.#skipped < Math.min(MAX_SKIPS, Math.floor(this.#missesInARow / MISSES_PER_SKIP))) return false;
    this.#skipped = 0;
    return true;
  }

  hit(): void {
    this.#missesInARow = 0;
    this.#skipped = 0;
  }

  missed(): void {
    this.#missesInARow++;
  }
}
