import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { ManualClock } from "@frontcache/proto/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { clientOver } from "./cache-client.js";
import type { MemberConnections } from "./members/ports.js";
import { completeOptions } from "./options.js";
import { FakeTransport } from "./testing/fake-transport.js";
import { noObjectRequests } from "./testing/no-object-requests.js";
import { ramp } from "./testing/ramp.js";

/** For long runs set FRONTCACHE_MEMORY_READS=10000. */
const READS = Number(process.env.FRONTCACHE_MEMORY_READS ?? 100);
const SIZE = 4 << 20;
const url = "s3://bucket/file";

/** Keeps what it gets for a while, then returns it with its place in the object. */
const KEEPER = `
  const { parentPort } = require("node:worker_threads");
  const kept = [];
  parentPort.on("message", (message) => {
    kept.push(message);
    if (kept.length > 5) parentPort.postMessage(kept.shift());
  });
`;

describe("the memory of results", () => {
  let worker: Worker;
  beforeAll(() => {
    worker = new Worker(KEEPER, { eval: true });
  });
  afterAll(() => worker.terminate());

  it("is the caller's: no byte of what is kept, sliced, posted or transferred changes while other reads run", async () => {
    const transport = new FakeTransport({ version: "v1", size: SIZE });
    const connections = transport as unknown as MemberConnections;
    const client = await clientOver(completeOptions({ endpoint: "a:1" }), {
      clock: new ManualClock(0),
      connections,
      requests: noObjectRequests,
    });
    const kept: { offset: number; bytes: Uint8Array }[] = [];
    const check = ({ offset, bytes }: { offset: number; bytes: Uint8Array }): void => {
      if (!ramp(offset, bytes.length).equals(bytes)) throw new Error(`bytes at ${offset} have changed`);
    };
    let returned = 0;
    worker.on("message", (message: { offset: number; bytes: Uint8Array }) => {
      returned++;
      check(message);
    });
    let state = 1;
    const random = (below: number): number => {
      state = (state * 48_271) % 2_147_483_647;
      return state % below;
    };
    for (let read = 0; read < READS; read++) {
      const offset = random(SIZE - 1);
      const length = 1 + random(Math.min(3 << 20, SIZE - offset));
      const bytes = await client.readRange(url, offset, length, read % 2 === 0 ? "v1" : "");
      check({ offset, bytes });
      const start = random(bytes.length);
      if (read % 5 === 0) kept.push({ offset, bytes });
      if (read % 5 === 1) kept.push({ offset: offset + start, bytes: bytes.subarray(start, start + 1_000) });
      if (read % 5 === 2) worker.postMessage({ offset, bytes });
      if (read % 5 === 3 && bytes.byteOffset === 0 && bytes.length === bytes.buffer.byteLength) {
        worker.postMessage({ offset, bytes }, [bytes.buffer as ArrayBuffer]);
        expect(bytes.length).toBe(0);
      }
      while (kept.length > 10) check(kept.splice(random(kept.length), 1)[0]!);
    }
    kept.forEach(check);
    while (returned < 10) await once(worker, "message");
    await client.close();
  });
});
