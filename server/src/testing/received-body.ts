import type { BodyPieces } from "../values/body-tee.js";

/** A body that is received into memory, at most this many bytes at a time. */
export function received(bytes: Buffer, atMost: number): BodyPieces {
  let at = 0;
  return {
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error("its pieces are not read")) }),
    receive: async (target) => {
      const copied = bytes.copy(target, 0, at, at + Math.min(atMost, target.length));
      at += copied;
      return copied;
    },
  };
}
