import { expect } from "vitest";

// Setup of all tiers: byte arrays are compared at once, instead of byte by byte through iterators.

/** Vitest keeps its testers for all files of a process. */
const ADDED = Symbol.for("frontcache.compare-bytes");
const shared = globalThis as { [ADDED]?: true };

if (!shared[ADDED]) {
  shared[ADDED] = true;
  expect.addEqualityTesters([
    (one: unknown, other: unknown) => {
      if (!(one instanceof Uint8Array && other instanceof Uint8Array)) return undefined;
      // Others are told apart by their types.
      return one.constructor === other.constructor ? Buffer.compare(one, other) === 0 : undefined;
    },
  ]);
}
