import type { Reservation } from "./block.js";
import type { Volume } from "./volume.js";

/** Room on one volume. What a write takes of it is neither in it nor used until the write says how it ended. */
export class VolumeReservation implements Reservation {
  #leftBytes: number;
  #released = false;

  /** Of bytes that the volume has set aside already. `bytes`: what was asked for; `chargedBytes`: what that takes at most. */
  constructor(
    readonly volume: Volume,
    readonly bytes: number,
    chargedBytes: number,
  ) {
    this.#leftBytes = chargedBytes;
  }

  /** Takes room for a write, more than is left where the volume has it. False: there is none. */
  take(bytes: number): boolean {
    const missing = bytes - this.#leftBytes;
    if (missing > 0) {
      if (!this.volume.reserve(missing)) return false;
      this.#leftBytes += missing;
    }
    this.#leftBytes -= bytes;
    return true;
  }

  /** The bytes taken are in a file now. */
  spend(bytes: number): void {
    this.volume.reservedBytes -= bytes;
    this.volume.usedBytes += bytes;
  }

  /** The bytes taken were not needed. */
  putBack(bytes: number): void {
    if (this.#released) this.volume.reservedBytes -= bytes;
    else this.#leftBytes += bytes;
  }

  release(): void {
    this.#released = true;
    this.volume.reservedBytes -= this.#leftBytes;
    this.#leftBytes = 0;
  }
}
