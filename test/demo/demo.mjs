// One member with a real S3 server as origin: cold, hot and random reads through CacheClient, with every byte checked.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CacheClient } from "@frontcache/client";
import { textFor } from "./commands.mjs";
import { startMember } from "./member.mjs";
import { startOrigin } from "./origin.mjs";

const MiB = 1 << 20;
const BUCKET = "demo";
const OBJECTS = [
  { key: "models/weights.bin", size: 192 * MiB, seed: 1 },
  { key: "tables/events.parquet", size: 64 * MiB + 12_345, seed: 101 },
];

/** The bytes of a demo object: a ramp modulo a prime, so that a wrong offset is detected. */
function ramp(offset, length, seed) {
  const period = 251;
  const bytes = Buffer.allocUnsafe(length);
  const head = Math.min(length, period * 4096);
  for (let i = 0; i < head; i++) bytes[i] = (offset + i + seed) % period;
  for (let filled = head; filled < length; filled *= 2) bytes.copy(bytes, filled, 0, Math.min(filled, length - filled));
  return bytes;
}

/** Throws if bytes differ from those of the object at the offset. */
function checkBytes({ object: { key, seed }, offset, bytes }) {
  if (!bytes.equals(ramp(offset, bytes.length, seed))) throw new Error(`${key}: wrong bytes after offset ${offset}`);
}

/** A seeded random generator (mulberry32), so that every run reads the same ranges. */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const urlOf = ({ key }) => `s3://${BUCKET}/${key}`;

async function readWhole(client) {
  return Promise.all(
    OBJECTS.map(async (object) => ({ object, offset: 0, bytes: await client.readRange(urlOf(object), 0, object.size) })),
  );
}

async function readRandom(client, count, length) {
  const random = seeded(42);
  const reads = [];
  for (let i = 0; i < count; i++) {
    const object = OBJECTS[i % OBJECTS.length];
    const offset = Math.floor(random() * (object.size - length));
    reads.push({ object, offset, bytes: await client.readRange(urlOf(object), offset, length) });
  }
  return reads;
}

async function streamWhole(client) {
  const object = OBJECTS[0];
  const chunks = [];
  for await (const chunk of client.stream(urlOf(object))) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  if (bytes.length !== object.size)
    throw new Error(`${object.key}: the stream ended after ${bytes.length} of ${object.size} bytes`);
  return [{ object, offset: 0, bytes }];
}

export async function demo({ keep }) {
  const directory = await mkdtemp(join(tmpdir(), "frontcache-demo-"));
  let origin, member, client;
  const stop = async () => {
    await client?.close();
    await member?.stop();
    await origin?.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    console.log("Starting an S3 server with two objects of 192 and 64 MiB, and one member ...\n");
    origin = await startOrigin({ directory: join(directory, "s3"), bucket: BUCKET });
    for (const { key, size, seed } of OBJECTS) await origin.put(key, ramp(0, size, seed));
    member = await startMember({ cache: join(directory, "cache"), endpoint: origin.endpoint });
    client = await CacheClient.connect({ endpoint: member.grpc });

    const rows = [];
    const step = async (name, work) => {
      const [gets, heads] = [origin.gets, origin.heads];
      const begin = performance.now();
      const reads = await work();
      const seconds = (performance.now() - begin) / 1000;
      for (const read of reads) checkBytes(read);
      const bytes = reads.reduce((sum, read) => sum + read.bytes.length, 0);
      rows.push([
        name,
        `${(bytes / MiB).toFixed(1)} MiB`,
        `${seconds.toFixed(2)} s`,
        (bytes / 1e9 / seconds).toFixed(2),
        `${origin.gets - gets} GET, ${origin.heads - heads} HEAD`,
      ]);
    };
    await step("cold: both objects, whole", () => readWhole(client));
    await step("hot: the same again", () => readWhole(client));
    await step("hot: 500 random 64 KiB ranges", () => readRandom(client, 500, 64 << 10));
    await step("hot: 192 MiB as a stream", () => streamWhole(client));
    printTable(["read", "bytes", "time", "GB/s", "origin requests"], rows);
    console.log("\nEvery byte was compared with the objects in the bucket.");
    if (keep) await keepRunning(origin, member);
    else console.log("To keep the member and its status page running: npm run demo -- --keep");
  } finally {
    await stop();
  }
}

function printTable(head, rows) {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)));
  const line = (cells) =>
    cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join("  ");
  console.log(line(head));
  console.log(widths.map((width) => "-".repeat(width)).join("  "));
  for (const row of rows) console.log(line(row));
}

async function keepRunning(origin, member) {
  console.log(textFor(member, origin, urlOf(OBJECTS[1])));
  await new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, resolve);
  });
}
