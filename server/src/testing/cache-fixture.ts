import { LocalCache, type LocalCacheOptions } from "../cache/local-cache.js";
import type { ObjectRead } from "../cache/object-read.js";
import type { Origin } from "../origin/origin.js";
import { type StoreFixture, testGeometry } from "./store-fixture.js";

/** A cache with a test store: parts of two segments, memory for one block, versions revalidated after a second. */
export function openCache(
  { store, clock }: StoreFixture,
  origin: Origin,
  options: Partial<LocalCacheOptions> & Pick<LocalCacheOptions, "fill">,
): LocalCache {
  return new LocalCache({
    geometry: testGeometry,
    origin,
    store,
    clock,
    partBytes: 2 * testGeometry.segmentBytes,
    fillMemoryBytes: testGeometry.blockBytes,
    fillParallelism: 4,
    staleIfError: true,
    revalidateAfterMs: 1_000,
    negativeTtlMs: 100,
    ...options,
  });
}

/** Returns the remaining bytes of a read, and closes it. */
export async function restOf(read: ObjectRead): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let slice = await read.next(); slice !== undefined; slice = await read.next()) {
    pieces.push(Buffer.from(slice.bytes));
    slice.release();
  }
  read.close();
  return Buffer.concat(pieces);
}
