// npm run values: three members that keep values, as processes. Prints figures of each part, and exits with 1 if a value was lost or wrong.
//   loss        10,000 values; one member is killed: all can be read, and have two copies again. Then two are killed at once: their values
//               are missing, never wrong
//   concurrent  10 writers and 50 readers of the same keys: each reader gets one whole value, or an error
//   sparse      an upload of 1 GiB by 8 writers, in random order, through random members
// Without names, all parts run.

import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import { forEachConcurrent } from "@frontcache/proto/runtime";
import { Chance } from "../seeded-random.js";
import { bodyRange, isNamedBody, namedBody } from "./value-bodies.js";
import { ValueMembers } from "./value-members.js";

const MEMBERS = 3;
const REQUESTS = 16;
const WRITERS = 10;
const READERS = 50;
const KEYS = 20;
const SPARSE_WRITERS = 8;
/** A part gives up after this time. What must be faster is measured: on a busy machine it takes longer. */
const LIMIT_MS = 600_000;
const MiB = 1 << 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    objects: { type: "string", default: "10000" },
    seconds: { type: "string", default: "20" },
    mebibytes: { type: "string", default: "1024" },
    seed: { type: "string", default: "1" },
  },
});
const chance = new Chance(Number(values.seed));

/** Prints figures. Returns whether all conditions hold. */
function report(part: string, figures: Readonly<Record<string, unknown>>, isMet: boolean): boolean {
  console.log(JSON.stringify({ part, ...figures, isMet }));
  return isMet;
}

async function loss(members: ValueMembers): Promise<boolean> {
  const count = Number(values.objects);
  const objects = Array.from({ length: count }, (_, i) => i);
  const bodyOf = (i: number): Buffer => namedBody(i, 1 + ((i * 37) % 4_096));
  let refused = 0;
  await forEachConcurrent(objects, REQUESTS, async (i) => {
    const { status } = await members.send("PUT", `v${i}`, chance, bodyOf(i));
    if (status !== 201) refused++;
  });
  await members.untilCopies(2 * count, LIMIT_MS);
  const readAll = async (): Promise<{ right: number; missing: number; failed: number; wrong: number }> => {
    const found = { right: 0, missing: 0, failed: 0, wrong: 0 };
    await forEachConcurrent(objects, REQUESTS, async (i) => {
      const { status, body } = await members.send("GET", `v${i}`, chance);
      if (status === 200) found[body.equals(bodyOf(i)) ? "right" : "wrong"]++;
      else found[status === 404 ? "missing" : "failed"]++;
    });
    return found;
  };
  await members.cluster.process("cache-1").kill();
  const [afterOne, repairedSeconds] = await Promise.all([readAll(), members.untilCopies(2 * count, LIMIT_MS)]);
  const first = { objects: count, refused, ...afterOne, repairedSeconds };
  const isKept = report("loss of one of three", first, refused === 0 && afterOne.right === count && repairedSeconds <= 60);
  await members.cluster.startAgain("cache-1");
  await members.untilCopies(2 * count, LIMIT_MS);
  await Promise.all(["cache-0", "cache-1"].map((name) => members.cluster.process(name).kill()));
  // The third member finds out that the others are gone.
  for (let left = 20; left > 0 && (await members.send("GET", "v0", "cache-2")).status === 503; left--);
  const afterTwo = await readAll();
  const isRight = afterTwo.wrong === 0 && afterTwo.failed === 0 && afterTwo.right + afterTwo.missing === count;
  const isMissed = report("loss of two of three", { ...afterTwo }, isRight && afterTwo.missing > 0);
  await members.cluster.startAgain("cache-0");
  await members.cluster.startAgain("cache-1");
  return isKept && isMissed;
}

async function concurrent(members: ValueMembers): Promise<boolean> {
  const untilMs = performance.now() + Number(values.seconds) * 1_000;
  const counts = { written: 0, refused: 0, whole: 0, missing: 0, failed: 0, wrong: 0 };
  const key = (): string => `shared${chance.below(KEYS)}`;
  let seed = 0;
  const writer = async (): Promise<void> => {
    while (performance.now() < untilMs) {
      const bytes = chance.below(4) === 0 ? chance.below(6 * MiB) : chance.below(100_000);
      const { status } = await members.send("PUT", key(), chance, namedBody(++seed, bytes));
      counts[status === 201 ? "written" : "refused"]++;
    }
  };
  const reader = async (): Promise<void> => {
    while (performance.now() < untilMs) {
      const { status, body } = await members.send("GET", key(), chance);
      if (status === 200) counts[isNamedBody(body) ? "whole" : "wrong"]++;
      else counts[status === 404 ? "missing" : "failed"]++;
    }
  };
  await Promise.all([...Array.from({ length: WRITERS }, writer), ...Array.from({ length: READERS }, reader)]);
  return report("10 writers, 50 readers", counts, counts.wrong === 0 && counts.refused === 0 && counts.whole > 0);
}

async function sparse(members: ValueMembers): Promise<boolean> {
  const size = Number(values.mebibytes) * MiB;
  const ranges: { readonly start: number; readonly end: number }[] = [];
  for (let start = 0; start < size; ) {
    const end = Math.min(size, start + MiB + chance.below(7 * MiB));
    ranges.push({ start, end });
    start = end;
  }
  for (let at = ranges.length - 1; at > 0; at--) {
    const other = chance.below(at + 1);
    [ranges[at], ranges[other]] = [ranges[other]!, ranges[at]!];
  }
  const begun = await begin(members, size);
  let [failed, early] = [0, 0];
  const beganMs = performance.now();
  const middle = Math.floor(ranges.length / 2);
  await forEachConcurrent([...ranges.entries()], SPARSE_WRITERS, async ([at, { start, end }]) => {
    const { status } = await members.send("PUT", `sparse?offset=${start}`, chance, bodyRange(1, start, end));
    if (status !== 200) failed++;
    if (at === middle) early = (await members.send("POST", "sparse?finalize", chance)).status;
  });
  const seconds = (performance.now() - beganMs) / 1_000;
  const finalized = await members.send("POST", "sparse?finalize", chance);
  const [expected, found] = [createHash("sha256"), createHash("sha256")];
  for (let at = 0; at < size; at += 16 * MiB) {
    const end = Math.min(size, at + 16 * MiB);
    expected.update(bodyRange(1, at, end));
  }
  const read = await members.send("GET", "sparse", chance);
  found.update(read.body);
  const isEqual = expected.digest("hex") === found.digest("hex");
  const figures = {
    bytes: size,
    ranges: ranges.length,
    begun,
    failed,
    finalizedEarly: early,
    finalized: finalized.status,
    isEqual,
    writtenMBps: size / 1e6 / seconds,
  };
  return report("sparse upload", figures, failed === 0 && early === 409 && finalized.status === 201 && isEqual);
}

async function begin(members: ValueMembers, size: number): Promise<number> {
  const { cluster } = members;
  const url = `http://${cluster.hostOf("cache-0")}:${cluster.port + 1}/values/builds/sparse?begin`;
  const response = await fetch(url, { method: "POST", headers: { "frontcache-size": String(size) } });
  await response.arrayBuffer();
  return response.status;
}

const PARTS = { loss, concurrent, sparse } as const;
const names = positionals.length === 0 ? Object.keys(PARTS) : positionals;
for (const name of names) {
  const run = PARTS[name as keyof typeof PARTS];
  if (run === undefined) throw new Error(`unknown part: ${name}; available: ${Object.keys(PARTS).join(", ")}`);
  await using members = await ValueMembers.start(MEMBERS);
  if (!(await run(members))) process.exitCode = 1;
}
