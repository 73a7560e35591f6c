import type { Reservation } from "./block.js";
import type { Space } from "./space.js";
import type { Volume } from "./volume.js";

/**
 * Space on one volume for the segments of one part. A write takes some of it and reports the outcome:
 * `spend` or `putBack`.
 */
export class VolumeReservation implements Reservation {
  readonly volume: Volume;
  readonly #space: Space;
  /** Bytes of the segments. Their space may be larger. */
  readonly bytes: number;
  #leftBytes: number;
  readonly #files: number;
  #isReleased = false;

  /**
   * Created from reserved space, which `space` counts. `chargedBytes`: maximum space of `bytes` of segments on the volume; `files`:
   * number of new files.
   */
  constructor(volume: Volume, space: Space, bytes: number, chargedBytes: number, files: number) {
    this.volume = volume;
    this.#space = space;
    this.bytes = bytes;
    this.#leftBytes = chargedBytes;
    this.#files = files;
  }

  /** Takes space for a write, even more than is left if the volume has it. Returns false if there is not enough. */
  take(bytes: number): boolean {
    const missing = bytes - this.#leftBytes;
    if (missing > 0) {
      if (!this.#space.reserve(missing)) return false;
      this.#leftBytes += missing;
    }
    this.#leftBytes -= bytes;
    return true;
  }

  /** Records that the taken bytes were written. */
  spend(bytes: number): void {
    this.#space.commit(bytes);
  }

  /** Returns taken bytes that were not needed. */
  putBack(bytes: number): void {
    if (this.#isReleased) this.#space.unreserve(bytes);
    else this.#leftBytes += bytes;
  }

  /** Releases the space that no write has taken. May be called repeatedly. */
  release(): void {
    if (!this.#isReleased) this.#space.unreserve(0, this.#files);
    this.#isReleased = true;
    this.#space.unreserve(this.#leftBytes);
    this.#leftBytes = 0;
  }
}
