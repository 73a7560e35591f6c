import type { ErrorCode } from "@frontcache/proto";
import type { originOperations, originOutcomes } from "./metric-list.js";
import type { Metrics } from "./metrics.js";

type Outcome = (typeof originOutcomes)[number];

const outcomeOf: Readonly<Record<ErrorCode, Outcome>> = {
  NOT_FOUND: "not_found",
  FAILED_PRECONDITION: "precondition",
  INVALID_ARGUMENT: "refused",
  UNAUTHENTICATED: "refused",
  PERMISSION_DENIED: "refused",
  OUT_OF_RANGE: "refused",
  RESOURCE_EXHAUSTED: "throttled",
  UNAVAILABLE: "unavailable",
  DEADLINE_EXCEEDED: "unavailable",
  INTERNAL: "invalid",
  CANCELLED: "cancelled",
};

/** A finished request to a store. */
export interface MeteredRequest {
  readonly operation: (typeof originOperations)[number];
  readonly outcome: "ok" | ErrorCode;
  /** Time to the response header; undefined if there was none. */
  readonly firstByteMs: number | undefined;
  readonly durationMs: number;
  readonly bytes: number;
}

/** Counts requests to object stores. */
export class OriginMeter {
  readonly #metrics: Metrics;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  request({ operation, outcome: code, firstByteMs, durationMs, bytes }: MeteredRequest): void {
    const { originRequests, originDuration, originFirstByte, originIo } = this.#metrics.families;
    const outcome = code === "ok" ? code : outcomeOf[code];
    originRequests.at({ operation, outcome }).value++;
    originDuration.at({ operation, outcome }).record(durationMs / 1000);
    if (firstByteMs !== undefined) originFirstByte.at({ operation }).record(firstByteMs / 1000);
    originIo.at().value += bytes;
  }

  retry(): void {
    this.#metrics.families.originRetries.at().value++;
  }

  /** Headers of an object were ignored. */
  droppedHeaders(count: number): void {
    this.#metrics.families.originDroppedHeaders.at().value += count;
  }

  tlsFailure(): void {
    this.#metrics.families.originTlsFailures.at().value++;
  }

  hedge({ won }: { readonly won: boolean }): void {
    this.#metrics.families.originHedges.at({ result: won ? "won" : "lost" }).value++;
  }

  /** Our own limits rejected a request: `wait`: it waited too long; `queue`: too many were waiting. */
  limit(reason: "wait" | "queue"): void {
    this.#metrics.families.limitsReached.at({ limit: `origin_${reason}` }).value++;
  }
}
