import type { Clock } from "../../runtime/clock.js";
import type { Mapping } from "./mapping.js";

/** Results are remembered for regions of this size. */
const REGION_BYTES = 1 << 20;

/**
 * Lifetime of a result. The kernel may drop a page meanwhile: then one touch waits for the disk, at most once in this time
 * per region.
 */
const REMEMBERED_MS = 100;

/**
 * Answers `Mapping.isResident` (whether bytes can be touched without waiting for the disk) with a short memory
 * for small reads, for which a check of the page cache would cost a tenth. The length of the file is checked each time, so
 * truncated bytes are never touched.
 */
export class RecentResidency {
  readonly #mapping: Mapping;
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #blockBytes: number;

  /** Per region, the time until which it counts as resident; negated: as not completely resident. */
  readonly #untilMs: Float64Array;

  constructor(mapping: Mapping, clock: Pick<Clock, "monotonicMs">, blockBytes: number) {
    this.#mapping = mapping;
    this.#clock = clock;
    this.#blockBytes = blockBytes;
    this.#untilMs = new Float64Array(Math.ceil(blockBytes / REGION_BYTES));
  }

  isResident(start: number, end: number): boolean {
    const region = Math.floor(start / REGION_BYTES);
    if (end > (region + 1) * REGION_BYTES) return this.#mapping.isResident(start, end);
    const untilMs = this.#untilMs[region]!;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < untilMs) return this.#mapping.reaches(end);
    if (nowMs < -untilMs) return this.#mapping.isResident(start, end);
    const regionEnd = Math.min((region + 1) * REGION_BYTES, this.#blockBytes);
    const isWhole = this.#mapping.isResident(region * REGION_BYTES, regionEnd);
    this.#untilMs[region] = isWhole ? nowMs + REMEMBERED_MS : -(nowMs + REMEMBERED_MS);
    return isWhole || this.#mapping.isResident(start, end);
  }
}
