// Loaded into a member by `node --import`. On SIGUSR2 it writes the delay of the event loop since the last report to standard error.
import { monitorEventLoopDelay } from "node:perf_hooks";

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
process.on("SIGUSR2", () => {
  const ms = (nanoseconds) => nanoseconds / 1e6;
  const { p50, p99, max } = { p50: delay.percentile(50), p99: delay.percentile(99), max: delay.max };
  process.stderr.write(`${JSON.stringify({ loopDelay: { p50: ms(p50), p99: ms(p99), max: ms(max) } })}\n`);
  delay.reset();
});
