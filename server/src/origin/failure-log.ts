import { type BucketRef, CacheError, type ErrorCode } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import { describeCause } from "../runtime/causes.js";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";

/** A request to an origin that failed, with all its retries. */
export interface OriginFailure {
  /** The origin's address. */
  readonly endpoint: string;
  readonly ref: BucketRef;
  readonly operation: string;
  readonly durationMs: number;
  readonly error: CacheError;
}

/** Failures that the operator can do something about. All others are ordinary answers to a client. */
const LOGGED: ReadonlySet<ErrorCode> = new Set([
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "RESOURCE_EXHAUSTED",
  "PERMISSION_DENIED",
  "INTERNAL",
]);

/** One line per origin, bucket and cause in this time. */
const INTERVAL_MS = 10_000;

/** Origins and buckets with a failure in the last interval. A displaced one may be logged again sooner. */
const MAX_ENTRIES = 1_000;

interface Entry {
  readonly loggedMs: number;
  /** Failures since then. */
  suppressed: number;
}

/** Logs failed requests to origins, at a limited rate. */
export class OriginFailureLog {
  readonly #log: Pick<Log, "warn">;
  readonly #clock: Clock;
  readonly #entries = new BoundedMap<string, Entry>(MAX_ENTRIES);

  constructor(log: Pick<Log, "warn">, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  report({ endpoint, ref, operation, durationMs, error }: OriginFailure): void {
    const { code } = error;
    if (!LOGGED.has(code)) return;
    const bucket = `${ref.scheme}://${ref.bucket}`;
    const storeCode = storeCodeOf(error);
    const key = `${endpoint} ${bucket} ${code} ${storeCode}`;
    const nowMs = this.#clock.monotonicMs();
    const entry = this.#entries.peek(key);
    if (entry !== undefined && nowMs - entry.loggedMs < INTERVAL_MS) {
      entry.suppressed++;
      return;
    }
    const suppressed = entry?.suppressed ?? 0;
    this.#entries.set(key, { loggedMs: nowMs, suppressed: 0 });
    const cause = describeCause(error.cause);
    const fields = {
      event: "origin-failed",
      endpoint,
      bucket,
      operation,
      code,
      storeCode,
      durationMs: Math.round(durationMs),
      cause,
      suppressed,
    };
    this.#log.warn(fields, error.message);
  }
}

/** The code of the store's, the network's or the credential source's error; undefined if the causes have none. */
function storeCodeOf(error: Error): string | undefined {
  let { cause } = error;
  while (cause instanceof CacheError) cause = cause.cause;
  const { code, name } = (cause ?? {}) as { code?: unknown; name?: unknown };
  return typeof code === "string" ? code : typeof name === "string" ? name : undefined;
}
