import type { ObjectRef } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";

/** One line per bucket in this time. */
const INTERVAL_MS = 60_000;
const MAX_BUCKETS = 1_000;
/** Names in one line. */
const MAX_NAMES = 20;

/** Logs which headers of objects are ignored, at a limited rate. */
export class DroppedHeadersLog {
  readonly #log: Pick<Log, "warn">;
  readonly #clock: Clock;
  readonly #loggedMs = new BoundedMap<string, number>(MAX_BUCKETS);

  constructor(log: Pick<Log, "warn">, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  report({ scheme, bucket, url }: ObjectRef, names: readonly string[]): void {
    const of = `${scheme}://${bucket}`;
    const nowMs = this.#clock.monotonicMs();
    const loggedMs = this.#loggedMs.peek(of);
    if (loggedMs !== undefined && nowMs - loggedMs < INTERVAL_MS) return;
    this.#loggedMs.set(of, nowMs);
    const fields = { event: "headers-dropped", bucket: of, url, count: names.length, names: names.slice(0, MAX_NAMES) };
    this.#log.warn(fields, "some headers of the object are too long, or have characters that a header cannot have: shorten them");
  }
}
