// npm run written: writes through random members, each read back at once through another random member, at the default settings. With
// `--changes`, members freeze, die, and are started again meanwhile. Prints how many reads were stale and how many asked the origin;
// exits with 1 if a read behind a write got anything else than what was written.

import { join } from "node:path";
import { parseArgs } from "node:util";
import { rampBytes } from "@frontcache/server/testing";
import { claimPorts, hostOf, namesOf } from "../e2e/addresses.js";
import { MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { S3Emulator } from "../emulators/s3.js";
import { Chance } from "../seeded-random.js";

const MEMBERS = 3;
/** Written and read at a time, each with objects of its own. */
const WRITERS = 8;
const OBJECTS_EACH = 10;
const SIZES = [0, 100, 10_000, 300_000, 3 << 20];
/** How long a client waits for a member before it asks the next one. */
const CLIENT_TIMEOUT_MS = 20_000;
/** Pairs between two changes of the members. */
const PAIRS_BETWEEN = 100;

const { values } = parseArgs({
  options: {
    pairs: { type: "string", default: "10000" },
    changes: { type: "boolean", default: false },
    seed: { type: "string", default: "1" },
  },
});
const pairs = Number(values.pairs);
const chance = new Chance(Number(values.seed));
const below = (limit: number): number => chance.below(limit);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

await using origin = await S3Emulator.start();
await using directory = await temporaryDirectory();
const port = await claimPorts();
const names = namesOf(MEMBERS);
const list = names.map((name, index) => `${name}=${hostOf(index)}:${port}/${port + 1}`).join(",");
const start = (index: number): Promise<MemberProcess> => {
  const listen = ["--listen", `${hostOf(index)}:${port}`, "--http-listen", `${hostOf(index)}:${port + 1}`];
  const discovery = ["--name", names[index]!, "--discovery", "static", "--members", list, "--member-timeout", "1s"];
  const flags = [...listen, ...discovery, "--writes", "anonymous"];
  return MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: join(directory.path, names[index]!), flags });
};
const members = await Promise.all(names.map((_, index) => start(index)));

const report = { pairs: 0, stale: 0, unknownWrites: 0, failedReads: 0, wrong: [] as string[] };

/** One request through a random member; through others if that one does not answer. */
async function ask(key: string, init: RequestInit = {}): Promise<{ status: number; body: Buffer } | undefined> {
  const first = below(MEMBERS);
  for (let tried = 0; tried < MEMBERS; tried++) {
    const url = `http://${hostOf((first + tried) % MEMBERS)}:${port + 1}/s3/bucket/${key}`;
    try {
      const response = await fetch(url, { ...init, signal: AbortSignal.timeout(CLIENT_TIMEOUT_MS) });
      return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
    } catch {
      // A write that was sent may have been done: it is not sent again.
      if (init.method === "PUT") return undefined;
    }
  }
  return undefined;
}

let round = 0;
async function pair(key: string): Promise<void> {
  const body = rampBytes(0, SIZES[below(SIZES.length)]!, ++round);
  const marked = Buffer.concat([body, Buffer.from(`written ${round}`)]);
  const written = await ask(key, { method: "PUT", body: marked });
  if (written?.status !== 200) {
    report.unknownWrites++;
    return;
  }
  const read = await ask(key);
  report.pairs++;
  if (read?.status !== 200) report.failedReads++;
  else if (!read.body.equals(marked)) {
    report.stale++;
    report.wrong.push(`${key}: ${read.body.length} bytes in place of ${marked.length}`);
  }
}

/** Freezes a member for a while, or kills it and starts it again. */
async function change(): Promise<void> {
  const index = below(MEMBERS);
  const member = members[index]!;
  if (below(2) === 0) {
    member.freeze();
    await pause(500 + below(2_500));
    member.thaw();
    return;
  }
  if (below(2) === 0) await member.kill();
  else await member.stop();
  members[index] = await start(index);
}

let [begun, isOver] = [0, false];
const writing = Array.from({ length: WRITERS }, async (_, writer) => {
  while (begun++ < pairs) await pair(`of-${writer}-${below(OBJECTS_EACH)}`);
});
const changing = (async () => {
  for (let next = PAIRS_BETWEEN; values.changes && !isOver; await pause(50)) {
    if (report.pairs < next) continue;
    next = report.pairs + PAIRS_BETWEEN;
    await change();
  }
})();
const reporting = setInterval(() => console.log(JSON.stringify(report)), 10_000);
await Promise.all(writing);
isOver = true;
await changing;
clearInterval(reporting);
const { PUT = 0, HEAD = 0, GET = 0 } = origin.traffic.requests;
// One HEAD behind each write reads the object's record: no read asks for it.
const asking = GET + Math.max(0, HEAD - PUT);
const withoutOrigin = Math.max(0, 1 - asking / Math.max(1, report.pairs));
console.log(JSON.stringify({ ...report, originRequests: { PUT, HEAD, GET }, readsWithoutOrigin: withoutOrigin }));
await Promise.all(members.map((member) => member.stop()));
process.exitCode = report.stale === 0 && (values.changes || (report.failedReads === 0 && withoutOrigin >= 0.9)) ? 0 : 1;
