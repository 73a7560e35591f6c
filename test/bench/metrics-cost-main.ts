// A member's gateway in a process of its own, for the question metrics-cost: `with` counts reads, logs and watches its
// process, `without` does none of it. Tells its port and the CPU time that it has taken, by messages.
import { measured } from "../../server/src/api/measured-cache.js";
import { HottestObjects } from "../../server/src/metrics/hottest-objects.js";
import { Metrics } from "../../server/src/metrics/metrics.js";
import { ProcessWatch } from "../../server/src/metrics/process-watch.js";
import { ReadMeter } from "../../server/src/metrics/read-meter.js";
import { RecentErrors } from "../../server/src/metrics/recent-errors.js";
import { systemClock } from "../../server/src/runtime/clock.js";
import { GatewayStack } from "../s3/gateway-stack.js";

const [endpoint, mode] = process.argv.slice(2);
const stack = await GatewayStack.open(endpoint!);
if (mode === "with") {
  const metrics = new Metrics(["/cache"], Date.now());
  const hottest = new HottestObjects(100);
  const watch = new ProcessWatch(metrics);
  setInterval(() => {
    watch.turn();
    hottest.decay();
  }, 1_000).unref();
  const meter = new ReadMeter(metrics, hottest, new RecentErrors(50), systemClock);
  stack.listener.serve(measured(meter)(stack.router));
}
process.on("message", () => {
  const { user, system } = process.cpuUsage();
  process.send!(user + system);
});
process.once("disconnect", () => void stack[Symbol.asyncDispose]().then(() => process.exit(0)));
process.send!(stack.listener.address.port);
