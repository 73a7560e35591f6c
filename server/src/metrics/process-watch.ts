import { type EventLoopUtilization, type IntervalHistogram, monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { Metrics } from "./metrics.js";

/** Milliseconds between two looks at the event loop; it wakes the process so often. */
const RESOLUTION_MS = 20;

/**
 * What the process itself takes: event loop, memory, CPU time. Figures of the event loop are of the last full interval, told
 * by `turn`, so that several who read them don't take them from each other.
 */
export class ProcessWatch {
  readonly #delay: IntervalHistogram;
  #utilization: EventLoopUtilization;

  constructor(private readonly metrics: Metrics) {
    this.#delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.#delay.enable();
    this.#utilization = performance.eventLoopUtilization();
    metrics.beforeReading(() => this.#look());
  }

  /** An interval is over. */
  turn(): void {
    const { loopDelayP50, loopDelayP99, loopDelayMax, loopUtilization } = this.metrics.families;
    // Nanoseconds, and the timer's own period is in them.
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
    const { memory, cpuTime, uptime } = this.metrics.families;
    const { user, system } = process.cpuUsage();
    memory.at().value = process.memoryUsage.rss();
    cpuTime.at({ "cpu.mode": "user" }).value = user / 1e6;
    cpuTime.at({ "cpu.mode": "system" }).value = system / 1e6;
    uptime.at().value = process.uptime();
  }
}
