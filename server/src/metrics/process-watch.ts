import { type EventLoopUtilization, type IntervalHistogram, monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { Metrics } from "./metrics.js";

/** Sampling interval of the event-loop delay, milliseconds. */
const RESOLUTION_MS = 20;

/**
 * Measures event loop, memory and CPU time of the process. The figures of the event loop cover the last complete interval, so
 * several exporters read the same values.
 */
export class ProcessWatch {
  readonly #metrics: Metrics;

  readonly #delay: IntervalHistogram;
  #utilization: EventLoopUtilization;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    this.#delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.#delay.enable();
    this.#utilization = performance.eventLoopUtilization();
    metrics.beforeReading(() => this.#look());
  }

  /** Ends an interval. */
  endInterval(): void {
    const { loopDelayP50, loopDelayP99, loopDelayMax, loopUtilization } = this.#metrics.families;
    // Nanoseconds; they include the period of the timer.
    const seconds = (ns: number): number => Math.max(0, ns / 1e9 - RESOLUTION_MS / 1e3);
    loopDelayP50.at().value = seconds(this.#delay.percentile(50));
    loopDelayP99.at().value = seconds(this.#delay.percentile(99));
    loopDelayMax.at().value = seconds(this.#delay.max);
    this.#delay.reset();
    const now = performance.eventLoopUtilization();
    loopUtilization.at().value = performance.eventLoopUtilization(now, this.#utilization).utilization;
    this.#utilization = now;
  }

  close(): void {
    this.#delay.disable();
  }

  #look(): void {
    const { memory, cpuTime, uptime } = this.#metrics.families;
    const { user, system } = process.cpuUsage();
    memory.at().value = process.memoryUsage.rss();
    cpuTime.at({ "cpu.mode": "user" }).value = user / 1e6;
    cpuTime.at({ "cpu.mode": "system" }).value = system / 1e6;
    uptime.at().value = process.uptime();
  }
}
