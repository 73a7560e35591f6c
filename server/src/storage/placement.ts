import type { Geometry } from "@frontcache/proto";
import { sleep } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import type { BlockId } from "./block.js";
import type { BlockIndex } from "./block-index.js";
import type { BucketShares } from "./bucket-share.js";
import { mostCharged } from "./cached-block.js";
import type { Purger } from "./eviction/purger.js";
import type { Volume } from "./volume.js";
import { VolumeReservation } from "./volume-reservation.js";

export interface PlacementOptions {
  readonly volumes: readonly Volume[];
  readonly index: BlockIndex;
  readonly shares: BucketShares;
  readonly purger: Purger;
  readonly clock: Clock;
  readonly geometry: Geometry;
  /** Maximum time that a reservation waits for the purger. */
  readonly waitMs: number;
}

/** Finds space for blocks: on the volume that has the block, otherwise on the volume with the most space. */
export class Placement {
  readonly #options: PlacementOptions;

  constructor(options: PlacementOptions) {
    this.#options = options;
  }

  /** Reserves as `BlockStore.reserve`. */
  reserve(id: BlockId, bytes: number): VolumeReservation | Promise<VolumeReservation | undefined> {
    const charged = mostCharged(bytes, this.#options.geometry);
    return this.#reserveNow(id, bytes, charged) ?? this.#reserveSoon(id, bytes, charged);
  }

  #reserveNow(id: BlockId, bytes: number, charged: number): VolumeReservation | undefined {
    const volume = this.#volumeFor(id);
    if (volume === undefined) return undefined;
    const { space } = this.#options.index.among(volume, id.url);
    const files = this.#newFiles(id);
    return space.reserve(charged, files) ? new VolumeReservation(volume, space, bytes, charged, files) : undefined;
  }

  /** Purges for a short time, repeatedly, because other reservations may take the freed space. */
  async #reserveSoon(id: BlockId, bytes: number, charged: number): Promise<VolumeReservation | undefined> {
    const { clock, purger, shares, waitMs } = this.#options;
    const share = shares.of(id.url);
    const timeOut = new AbortController();
    const overdue = sleep(clock, waitMs, timeOut.signal).then(
      () => "overdue" as const,
      () => undefined,
    );
    try {
      for (let fruitless = 0; ; ) {
        const volume = this.#volumeFor(id);
        if (volume === undefined || charged > volume.limitBytes) return undefined;
        const lacking = share?.hasRoom(charged) === false ? share : undefined;
        // What a pinned bucket has is not evicted, and what is larger than a share never fits.
        if (lacking?.isPinned === true || (lacking !== undefined && charged > lacking.limitBytes)) return undefined;
        const requested = { bytes: charged, files: this.#newFiles(id) };
        const purging = lacking === undefined ? purger.purge(volume, requested) : purger.purgeShare(lacking, charged);
        const purged = await Promise.race([purging, overdue]);
        const reservation = this.#reserveNow(id, bytes, charged);
        if (reservation !== undefined || purged === "overdue") return reservation;
        // A running purge may have had a smaller goal. If two purges free nothing, all remaining blocks are being read.
        if (purged?.blocks === 0 && ++fruitless === 2) return undefined;
      }
    } finally {
      timeOut.abort();
    }
  }

  #volumeFor(id: BlockId): Volume | undefined {
    const present = this.#options.index.get(id)?.volume;
    if (present !== undefined) return isUsable(present) ? present : undefined;
    let most: Volume | undefined;
    for (const volume of this.#options.volumes) {
      if (isUsable(volume) && (most === undefined || hasMoreRoom(volume, most))) most = volume;
    }
    return most;
  }

  /** Returns the number of files that a block needs: 0 if it has one. */
  #newFiles(id: BlockId): number {
    return this.#options.index.get(id) === undefined ? NEW_BLOCK_FILES : 0;
  }
}

/** A new block's file, and its directory if it is the first file in it. */
const NEW_BLOCK_FILES = 2;

/** Compares by bytes; a volume without room for a file comes last. */
function hasMoreRoom(volume: Volume, other: Volume): boolean {
  const [own, others] = [volume.free, other.free];
  if (own.files === 0 || others.files === 0) return own.files > others.files;
  return own.bytes > others.bytes;
}

/** Returns whether the volume may have space, now or after a purge. */
function isUsable(volume: Volume): boolean {
  return volume.health.state !== "failing" && !volume.isCrowdedOut;
}
