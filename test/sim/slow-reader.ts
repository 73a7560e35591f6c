import { sleep } from "@frontcache/proto/runtime";
import type { Clock, ObjectRead } from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";
import type { ReadOutcome } from "./read-model.js";

/** How a reader takes its bytes. */
export interface SlowReader {
  readonly clock: Clock;
  readonly chance: Chance;
  /** Chance of each piece to be held for a while; it must stay true meanwhile. */
  readonly slowness: number;
  /** Pieces after which it leaves. */
  readonly leavesAfter: number;
  readonly signal: AbortSignal;
}

/** Reads as a slow reader does, to the end or until it has enough. Never rejects. */
export async function readSlowly(
  open: () => ObjectRead | Promise<ObjectRead>,
  { clock, chance, slowness, leavesAfter, signal }: SlowReader,
): Promise<ReadOutcome> {
  const pieces: Buffer[] = [];
  let read: ObjectRead | undefined;
  const outcome = (): ReadOutcome => ({ bytes: Buffer.concat(pieces), version: read?.info.version, length: read?.length });
  try {
    read = await open();
    for (;;) {
      if (pieces.length >= leavesAfter) return { ...outcome(), left: true };
      const slice = await read.next();
      if (slice === undefined) return outcome();
      if (chance.happens(slowness)) await sleep(clock, chance.below(30), signal).catch(() => {});
      pieces.push(Buffer.from(slice.bytes));
      slice.release();
    }
  } catch (error) {
    return { ...outcome(), error };
  } finally {
    read?.close();
  }
}
