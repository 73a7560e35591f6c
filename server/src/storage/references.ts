import type { Slice } from "../runtime/slice.js";

/** Counts what readers hold: pins and slices. 0 at rest. */
export class References {
  #open = 0;

  get open(): number {
    return this.#open;
  }

  /** Notes something lent; the returned function takes it back, once. */
  add(takeBack: () => void): () => void {
    this.#open++;
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      this.#open--;
      takeBack();
    };
  }

  /** Bytes as a slice that is taken back with its release. */
  slice(bytes: Buffer, takeBack: () => void): Slice {
    return { bytes, release: this.add(takeBack) };
  }
}
