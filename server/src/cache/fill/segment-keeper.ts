import type { FilledSegment, Reservation } from "../../storage/block.js";
import type { FillContext } from "./fill-context.js";
import type { FillDescription } from "./fill-description.js";

/** Keeps what one fill brings: sets room aside on a volume, and writes complete segments to their block file. */
export class SegmentKeeper {
  #writes = 0;
  #discarded = false;

  constructor(
    private readonly context: Pick<FillContext, "store" | "clock">,
    private readonly description: FillDescription,
  ) {}

  /** Whether something is being written, or waits for its room. */
  get writing(): boolean {
    return this.#writes > 0;
  }

  /** Nothing is written any more: the block was evicted meanwhile. */
  discard(): void {
    this.#discarded = true;
  }

  /** Room for bytes that are about to come; undefined: they can't be kept. The first answer must have come. */
  reserve(bytes: number): Promise<Reservation | undefined> {
    return this.context.store.reserve(this.description.id, bytes);
  }

  /** Writes the segments into their room and gives back what is left of it. Returns whether they are held now. */
  async keep(segments: readonly FilledSegment[], reserving: Promise<Reservation | undefined>): Promise<boolean> {
    this.#writes++;
    const reservation = await reserving;
    try {
      if (reservation === undefined || segments.length === 0 || this.#discarded) return false;
      const { id, info } = this.description;
      return await this.context.store.write({ id, info: info!, createdAtMs: this.#seenAtWallMs }, segments, reservation);
    } finally {
      reservation?.release();
      this.#writes--;
    }
  }

  /** When the version was last seen to be current by the clock that a later process has, too, milliseconds since 1970; 0: never. */
  get #seenAtWallMs(): number {
    const { clock } = this.context;
    return Math.max(0, clock.nowMs() - (clock.monotonicMs() - this.description.seenAtMs));
  }
}
