import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { memberKey } from "@frontcache/client/members";
import { CallerHandshake } from "@frontcache/client/testing";
import { expect, it } from "vitest";
import type { MemberInProcess } from "../e2e/member-in-process.js";
import { connectClient, temporaryDirectory } from "../e2e/member-process.js";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { startMemberPair } from "./member-pair.js";

const OLD = "old-key-of-the-members-0123456789abcdef";
const NEW = "new-key-of-the-members-0123456789abcdef";
const OBJECTS = 10;
const BYTES = 1_000;

/** Returns whether the member's listener knows a key, by the start of a handshake. */
async function knows(httpAddress: string, key: string): Promise<boolean> {
  const [host, port] = httpAddress.split(":");
  const socket = connect(Number(port), host);
  const closed = new AbortController();
  socket.on("error", () => {}).on("close", () => closed.abort());
  try {
    let outcome: string | undefined;
    const onConnected = (_: string, found: string): void => {
      outcome = found;
    };
    const caller = { name: "a-test", keys: [memberKey(key)], nameAt: () => undefined, onConnected };
    const handshake = new CallerHandshake(caller, httpAddress);
    socket.write(handshake.hello, "latin1");
    while (outcome === undefined) {
      const [bytes] = (await once(socket, "data", { signal: closed.signal })) as [Buffer];
      handshake.take(bytes);
    }
    return outcome === "proven";
  } finally {
    socket.destroy();
  }
}

/** Reads all objects in turn through one member until it is stopped, by HTTP and with the client. */
class Reader {
  reads = 0;
  readonly failures: unknown[] = [];
  #isStopped = false;
  readonly #running: Promise<void>;

  constructor(member: MemberInProcess) {
    this.#running = this.#run(member);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async #run({ http, grpc }: MemberInProcess): Promise<void> {
    await using client = await connectClient({ endpoint: grpc, attempts: 1 });
    while (!this.#isStopped) {
      const object = this.reads++ % OBJECTS;
      try {
        const answer = await fetch(`http://${http}/s3/bucket/object-${object}`);
        if (answer.status !== 200) throw new Error(`status ${answer.status}: ${await answer.text()}`);
        const bytes = [Buffer.from(await answer.arrayBuffer()), await client.readRange(`s3://bucket/object-${object}`, 0, BYTES)];
        if (bytes.some((each) => !each.equals(rampBytes(0, BYTES, object)))) throw new Error("wrong bytes");
      } catch (error) {
        this.failures.push(error);
      }
    }
  }
}

it("no read fails while the members' key is replaced in a running cluster, and members know each other by the new one", async () => {
  await using directory = await temporaryDirectory();
  await using origin = await S3Emulator.start();
  for (let object = 0; object < OBJECTS; object++) origin.putRamp("bucket", `object-${object}`, BYTES, object);
  const files = [0, 1].map((index) => join(directory.path, `keys-${index}`));
  for (const file of files) writeFileSync(file, OLD);
  const flagsOf = (index: number): string[] => ["--unready-grace", "0s", "--members-key-file", files[index]!];
  const members = await startMemberPair({ endpoint: origin.endpoint, directory: directory.path, flagsOf });
  const readers = members.map((member) => new Reader(member));
  /** Waits until each reader has read some more objects. */
  const moreReads = async (): Promise<void> => {
    const until = readers.map(({ reads }) => reads + OBJECTS);
    for (const [at, reader] of readers.entries())
      await expect.poll(() => reader.reads, { timeout: 60_000, interval: 10 }).toBeGreaterThan(until[at]!);
  };
  const untilKnown = async (at: number, key: string, known: boolean): Promise<void> => {
    await expect.poll(() => knows(members[at]!.http, key), { timeout: 60_000, interval: 50 }).toBe(known);
  };
  try {
    await moreReads();
    for (const at of [0, 1]) {
      writeFileSync(files[at]!, `${NEW}\n${OLD}\n`);
      await untilKnown(at, NEW, true);
      await moreReads();
    }
    for (const at of [0, 1]) {
      writeFileSync(files[at]!, `${NEW}\n`);
      await untilKnown(at, OLD, false);
      await moreReads();
    }
  } finally {
    await Promise.all(readers.map((reader) => reader.stop()));
  }
  expect(readers.flatMap(({ failures }) => failures)).toEqual([]);
  // Only members may evict at one member.
  for (const { grpc } of members) {
    await using client = await connectClient({ endpoint: grpc });
    const evict = () => client.evict({ prefix: "s3://bucket/" }).then(() => "evicted", String);
    await expect.poll(evict, { timeout: 60_000, interval: 100 }).toBe("evicted");
  }
  for (const { log } of members) expect(JSON.stringify(log)).not.toMatch(/of-the-members-0123456789abcdef/);
  expect(await Promise.all(members.map((member) => member.stop()))).toEqual([0, 0]);
});
