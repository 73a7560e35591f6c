// npm run overwrites: 1,000 overwrites at random times, each object read every few seconds through three members, and through clients with
// near caches in memory and on disk, in turn, at the default settings. Prints what the readers found; exits with 1 if a reader went
// back, or two ranges were of two versions.

import { join } from "node:path";
import { parseArgs } from "node:util";
import { claimPorts, hostOf, namesOf } from "../e2e/addresses.js";
import { connectClient, MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { S3Emulator } from "../emulators/s3.js";
import { Chance } from "../seeded-random.js";
import { RoundRobinReaders } from "./round-robin-readers.js";

const { values } = parseArgs({
  options: {
    overwrites: { type: "string", default: "1000" },
    objects: { type: "string", default: "100" },
    seconds: { type: "string", default: "300" },
    every: { type: "string", default: "3" },
    seed: { type: "string", default: "1" },
  },
});
const [overwrites, objects, seconds, every, seed] = [
  values.overwrites,
  values.objects,
  values.seconds,
  values.every,
  values.seed,
].map(Number) as [number, number, number, number, number];

const MiB = 1 << 20;
const PAIR = { offsets: [1_000, 16 * MiB + 1_000], length: 1_000, objectBytes: 17 * MiB } as const;
/** How long readers continue after the last overwrite: longer than any record is believed. */
const AFTER_MS = 90_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

await using origin = await S3Emulator.start();
await using directory = await temporaryDirectory();
const port = await claimPorts();
const names = namesOf(3);
const list = names.map((name, index) => `${name}=${hostOf(index)}:${port}/${port + 1}`).join(",");
const processes = await Promise.all(
  names.map((name, index) => {
    const listen = ["--listen", `${hostOf(index)}:${port}`, "--http-listen", `${hostOf(index)}:${port + 1}`];
    const flags = ["--name", name, ...listen, "--discovery", "static", "--members", list, "--member-timeout", "1s"];
    return MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: join(directory.path, name), flags });
  }),
);
const members = processes.map(({ http }) => `http://${http}`);
const disk = `${join(directory.path, "near")}:1GiB`;
const nears = [{ memory: "64MiB" }, { memory: "1MiB", disk }, { disk }];
const nearClients = await Promise.all(processes.map(({ grpc }, index) => connectClient({ endpoint: grpc, near: nears[index] })));
const readers = new RoundRobinReaders({ origin, bucket: "bucket", objects, pair: PAIR, members, nearClients, seed });
const chance = new Chance(seed);
const endMs = performance.now() + seconds * 1_000;
let written = 0;
let isOver = false;

const overwriting = (async () => {
  const times = Array.from({ length: overwrites }, () => chance.next() * seconds * 1_000).sort((a, b) => a - b);
  const beganMs = performance.now();
  for (const time of times) {
    await pause(Math.max(0, time - (performance.now() - beganMs)));
    readers.overwrite();
    written++;
  }
})();
const reading = Promise.all(
  Array.from({ length: objects }, async (_, index) => {
    await pause(chance.next() * every * 1_000);
    while (!isOver) {
      await readers.readPair(index);
      await pause((0.5 + chance.next()) * every * 1_000);
    }
  }),
);
const reporting = setInterval(() => {
  const { pairs, changesSeen, mixedPairs, wentBack, wrong } = readers.report;
  console.log(
    `${written} overwrites, ${changesSeen} seen; ${pairs} pairs, ${mixedPairs} mixed, ${wentBack} went back, ${wrong.length} wrong`,
  );
}, 10_000);
await overwriting;
await pause(Math.max(0, endMs - performance.now()));
for (const untilMs = performance.now() + AFTER_MS; performance.now() < untilMs && !readers.areCurrent; ) await pause(1_000);
isOver = true;
await reading;
clearInterval(reporting);
const near = nearClients.map((client) => client.nearReads());
console.log(JSON.stringify({ overwrites: written, ...readers.report, allCurrent: readers.areCurrent, near }));
const { mixedPairs, wentBack, wrong } = readers.report;
await Promise.all(nearClients.map((client) => client.close()));
await Promise.all(processes.map((member) => member.stop()));
process.exitCode = mixedPairs + wentBack + wrong.length === 0 && readers.areCurrent ? 0 : 1;
