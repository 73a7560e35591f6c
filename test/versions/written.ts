// npm run written: writes through random members, each read back at once through another random member, at the default settings. With
// `--changes`, members freeze, die, restart, join under new names and leave for good meanwhile. Prints how many reads were stale, how many
// asked the origin, and how long writes took; exits with 1 if a read got anything else than what was, or may have been, written last, or if
// a read failed.

import { parseArgs } from "node:util";
import { namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";
import { EmulatedPods, staticPods } from "../e2e/cluster-pods.js";
import { Chance } from "../seeded-random.js";
import { MemberChanges } from "./member-changes.js";
import { WrittenPairs } from "./written-pairs.js";

const MEMBERS = 3;
/** Between the beginnings of two changes of the members. A change that takes longer is followed by the next one. */
const CHANGE_EVERY_MS = 8_000;

const { values } = parseArgs({
  options: {
    pairs: { type: "string", default: "10000" },
    seconds: { type: "string", default: "86400" },
    changes: { type: "boolean", default: false },
    seed: { type: "string", default: "1" },
  },
});
const untilMs = performance.now() + Number(values.seconds) * 1_000;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const cluster = await Cluster.start({
  names: namesOf(MEMBERS),
  pods: async ({ directory, places, port }) =>
    values.changes ? EmulatedPods.start(directory) : staticPods(places, port, () => places, true),
  flags: ["--writes", "anonymous", "--member-timeout", "1s", "--leave-after", "5s"],
  sizes: [],
});
const pairs = new WrittenPairs(new Chance(Number(values.seed)), () =>
  cluster.names.map((name) => `http://${cluster.hostOf(name)}:${cluster.port + 1}`),
);
const changes = new MemberChanges(cluster, new Chance(Number(values.seed)));
const { report } = pairs;
cluster.origin.traffic.reset();

let isOver = false;
const changing = (async () => {
  while (values.changes && !isOver) await Promise.all([changes.next(), pause(CHANGE_EVERY_MS)]);
})();
const reporting = setInterval(() => {
  const { causes, ...counts } = report;
  console.log(JSON.stringify({ ...counts, ...changes.counts, last: causes.at(-1)?.slice(0, 200) }));
}, 10_000);
await pairs.run(Number(values.pairs), untilMs);
const { PUT = 0, HEAD = 0, GET = 0 } = cluster.origin.traffic.requests;
isOver = true;
await changing;
await pairs.readAll();
clearInterval(reporting);
// One HEAD behind each write reads the object's record: no read asks for it.
const asking = GET + Math.max(0, HEAD - PUT);
const withoutOrigin = Math.max(0, 1 - asking / Math.max(1, report.pairs));
for (const cause of report.causes) console.log(cause.slice(0, 400));
const { causes, ...counts } = report;
const originRequests = { PUT, HEAD, GET };
const summary = { ...counts, changes: changes.counts, originRequests, readsWithoutOrigin: withoutOrigin, writeMs: pairs.writeMs };
console.log(JSON.stringify(summary));
await cluster[Symbol.asyncDispose]();
process.exitCode = report.stale + report.failedReads === 0 && (values.changes || withoutOrigin >= 0.9) ? 0 : 1;
