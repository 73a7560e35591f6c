import type { Metrics } from "./metrics.js";

/** Counts requests between members. */
export class RoutingMeter {
  readonly #metrics: Metrics;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  onForward(outcome: "answered" | "unreachable" | "failed"): void {
    this.#metrics.families.forwards.at({ outcome }).value++;
  }

  onFailover(stage: "asked" | "midway"): void {
    this.#metrics.families.failovers.at({ stage }).value++;
  }

  onPeerFill(): void {
    this.#metrics.families.peerFills.at().value++;
  }
}
