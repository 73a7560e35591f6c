import type { ErrorCode } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { HottestObjects } from "./hottest-objects.js";
import { readResults } from "./metric-list.js";
import type { Metrics } from "./metrics.js";
import type { RecentErrors } from "./recent-errors.js";
import type { HistogramSeries, NumberSeries } from "./series.js";

/** The source of the bytes of a read; see ReadResult. */
type Result = (typeof readResults)[number];

/** Results without an origin request. Forwarded reads are counted by the member that answers them. */
const SAVING: ReadonlySet<Result> = new Set(["hit", "joined", "stale"]);

interface ResultSeries {
  readonly reads: NumberSeries;
  readonly bytes: NumberSeries;
  readonly duration: HistogramSeries;
  readonly firstByte: HistogramSeries;
  readonly saves: boolean;
}

/**
 * Counts reads. All series are looked up in advance, so a hit costs two clock reads and a dozen additions
 * (`npm run bench -- metrics-cost`).
 */
export class ReadMeter {
  readonly #metrics: Metrics;
  readonly #hottest: HottestObjects;
  readonly #errors: RecentErrors;
  readonly #clock: Clock;

  readonly #results: Readonly<Record<Result, ResultSeries>>;
  readonly #saved: NumberSeries;

  constructor(metrics: Metrics, hottest: HottestObjects, errors: RecentErrors, clock: Clock) {
    this.#metrics = metrics;
    this.#hottest = hottest;
    this.#errors = errors;
    this.#clock = clock;
    const { reads, readIo, readDuration, readFirstByte, saved } = metrics.families;
    const of = (result: Result): ResultSeries => ({
      reads: reads.at({ result }),
      bytes: readIo.at({ result }),
      duration: readDuration.at({ result }),
      firstByte: readFirstByte.at({ result }),
      saves: SAVING.has(result),
    });
    this.#results = Object.fromEntries(readResults.map((result) => [result, of(result)])) as Record<Result, ResultSeries>;
    this.#saved = saved.at();
  }

  /** The time for the `begunMs` of the other methods, milliseconds. */
  nowMs(): number {
    return this.#clock.monotonicMs();
  }

  /** The first bytes of a read were available without a wait: counts as less than the lowest boundary. */
  firstBytesAtOnce(result: Result): void {
    this.#results[result].firstByte.record(0);
  }

  /** The first bytes of a read that arrived at `begunMs` are available. */
  firstBytes(result: Result, begunMs: number): void {
    this.#results[result].firstByte.record((this.#clock.monotonicMs() - begunMs) / 1000);
  }

  /** Bytes were sent. The result may change between the blocks of a read. */
  sent(result: Result, bytes: number): void {
    const series = this.#results[result];
    series.bytes.value += bytes;
    if (series.saves) this.#saved.value += bytes;
  }

  /** The read has ended, completely or because the client disconnected. */
  answered(result: Result, url: string, begunMs: number, bytes: number): void {
    const { reads, duration } = this.#results[result];
    reads.value++;
    duration.record((this.#clock.monotonicMs() - begunMs) / 1000);
    this.#hottest.touch(url, bytes);
  }

  /** The read failed. A disconnected client is counted, but is not a recent error. */
  failed(url: string, code: ErrorCode, message: string): void {
    this.#metrics.families.readErrors.at({ "error.type": code }).value++;
    if (code !== "CANCELLED") this.#errors.add({ atMs: this.#clock.nowMs(), code, url, message });
  }
}
