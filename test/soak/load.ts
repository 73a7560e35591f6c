import { setTimeout as pause } from "node:timers/promises";
import type { CacheClient } from "@frontcache/client";
import { CacheError } from "@frontcache/proto";
import { BLOCK_BYTES, isRight, type TestObject } from "../e2e/test-objects.js";
import { rampBytes } from "../emulators/s3.js";
import { seededRandom } from "../seeded-random.js";
import { isWhollyOf, LEAST_BYTES, type OverwrittenObject } from "../versions/overwritten-object.js";
import type { Verdicts } from "./verdicts.js";

/** The objects to read, and the clients. */
export interface LoadTarget {
  readonly clients: readonly CacheClient[];
  readonly objects: readonly TestObject[];
  readonly overwritten: OverwrittenObject;
  /** The HTTP listener of a member that is never stopped: `host:port`. */
  readonly http: string;
  readonly verdicts: Verdicts;
}

type Reader = (target: LoadTarget, client: CacheClient, random: () => number) => Promise<void>;

/** Number of concurrent reads of each kind. */
const READERS: readonly (readonly [count: number, read: Reader])[] = [
  [4, readLittle],
  [2, readMuch],
  [2, readStream],
  [2, readByHttp],
  [2, readOverwritten],
  [1, readAndLeave],
];

/** Runs reads of all kinds until `stopped`, and checks each read. Resolves when the last one has ended. */
export async function runLoad(target: LoadTarget, seed: number, stopped: AbortSignal): Promise<void> {
  const readers = READERS.flatMap(([count, read]) => Array.from({ length: count }, () => read));
  await Promise.all(
    readers.map(async (read, index) => {
      const random = seededRandom(seed * 1_000 + index);
      const client = target.clients[index % target.clients.length]!;
      while (!stopped.aborted) {
        await read(target, client, random);
        // A pause for the rest of this process, including the origin.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }),
  );
}

/** Chooses an object; a few objects are read most of the time, as in practice. */
function pickObject(objects: readonly TestObject[], random: () => number): TestObject {
  return objects[Math.floor(random() ** 3 * objects.length)]!;
}

function readLittle(target: LoadTarget, client: CacheClient, random: () => number): Promise<void> {
  return readVersion("4 KiB", target, client, random, () => 4_096);
}

function readMuch(target: LoadTarget, client: CacheClient, random: () => number): Promise<void> {
  return readVersion("several blocks", target, client, random, () => Math.floor((0.5 + random() * 3) * BLOCK_BYTES));
}

async function readVersion(
  kind: string,
  { objects, verdicts }: LoadTarget,
  client: CacheClient,
  random: () => number,
  lengthOf: () => number,
): Promise<void> {
  const object = pickObject(objects, random);
  const size = object.blocks * BLOCK_BYTES;
  const length = lengthOf();
  const offset = Math.floor(random() * (size - length));
  try {
    const bytes = await client.readRange(object.url, offset, length, object.version);
    const right = isRight(bytes, object, { offset, length });
    verdicts.answered(kind, bytes.length, right ? undefined : `${object.key} at ${offset}, ${length} bytes`);
  } catch (error) {
    verdicts.failedWith(kind, error);
  }
}

async function readStream({ objects, verdicts }: LoadTarget, client: CacheClient, random: () => number): Promise<void> {
  const object = pickObject(objects, random);
  const size = object.blocks * BLOCK_BYTES;
  const begin = Math.floor(random() * (size / 2));
  const length = Math.min(8 * BLOCK_BYTES, size - begin);
  let offset = begin;
  let wrong: string | undefined;
  try {
    for await (const piece of client.stream(object.url, begin, length, object.version)) {
      if (!isRight(Buffer.from(piece), object, { offset, length: piece.length })) wrong = `${object.key} at ${offset}`;
      offset += piece.length;
    }
    if (offset !== begin + length) wrong = `${object.key} from ${begin}: ${offset - begin} of ${length} bytes`;
    verdicts.answered("stream", offset - begin, wrong);
  } catch (error) {
    verdicts.failedWith("stream", error);
  }
}

async function readByHttp({ http, objects, verdicts }: LoadTarget, _: CacheClient, random: () => number): Promise<void> {
  const object = pickObject(objects, random);
  const offset = Math.floor(random() * (object.blocks - 2)) * BLOCK_BYTES + Math.floor(random() * BLOCK_BYTES);
  const length = 1 + Math.floor(random() * BLOCK_BYTES);
  const range = `bytes=${offset}-${offset + length - 1}`;
  try {
    const bytes = await fetchRange(`http://${http}/s3/bucket/${object.key}`, range);
    verdicts.answered("http", bytes.length, isRight(bytes, object, { offset, length }) ? undefined : `${object.key} ${range}`);
  } catch (error) {
    verdicts.failedWith("http", error);
  }
}

/** Retries SlowDown as S3 tools do; a member that was delayed for a second returns it. */
const SLOW_DOWN_TRIES = 5;
const SLOW_DOWN_MS = 300;

async function fetchRange(url: string, range: string): Promise<Buffer> {
  for (let tries = 1; ; tries++) {
    const [status, bytes] = await fetchOnce(url, range);
    if (status === 206) return bytes;
    if (status !== 503 || tries === SLOW_DOWN_TRIES) {
      const code = status === 503 || status === 504 ? "UNAVAILABLE" : "INTERNAL";
      throw new CacheError(code, `${status} ${url}: ${bytes.toString("utf8", 0, 300)}`);
    }
    await pause(tries * SLOW_DOWN_MS);
  }
}

async function fetchOnce(url: string, range: string): Promise<[status: number, bytes: Buffer]> {
  try {
    const answer = await fetch(url, { headers: { range } });
    return [answer.status, Buffer.from(await answer.arrayBuffer())];
  } catch (cause) {
    // If a response fails after its header was sent, the HTTP listener can only abort it.
    const { message } = (cause as Error).cause as Error;
    throw new CacheError("UNAVAILABLE", `${url}: aborted: ${message}`, { cause });
  }
}

async function readOverwritten({ overwritten, verdicts }: LoadTarget, client: CacheClient, random: () => number): Promise<void> {
  const range = { offset: Math.floor(random() * (LEAST_BYTES - 1)), length: 1 + Math.floor(random() * 2 * BLOCK_BYTES) };
  const asked = random() < 0.5 ? overwritten.current : undefined;
  const kind = asked === undefined ? "overwritten, any version" : "overwritten, one version";
  try {
    const bytes = await client.readRange(overwritten.url, range.offset, range.length, asked?.version);
    const put = asked ?? overwritten.beginningOf(bytes, range.offset);
    const right = put !== undefined && isWhollyOf(put, bytes, range, false);
    verdicts.answered(kind, bytes.length, right ? undefined : `${range.length} bytes at ${range.offset}`);
  } catch (error) {
    verdicts.failedWith(kind, error, ["FAILED_PRECONDITION"]);
  }
}

async function readAndLeave({ objects, verdicts }: LoadTarget, client: CacheClient, random: () => number): Promise<void> {
  const object = pickObject(objects, random);
  const length = 2 * BLOCK_BYTES;
  try {
    const signal = AbortSignal.timeout(Math.floor(random() * 20));
    const bytes = await client.readRange(object.url, 0, length, object.version, { signal });
    verdicts.answered("left", bytes.length, bytes.equals(rampBytes(0, length, object.seed)) ? undefined : object.key);
  } catch (error) {
    verdicts.failedWith("left", error, ["CANCELLED", "DEADLINE_EXCEEDED"]);
  }
}
