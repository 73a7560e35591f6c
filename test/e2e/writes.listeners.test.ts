import { rampBytes } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostOf, namesOf } from "./addresses.js";
import { Cluster } from "./cluster.js";
import { BLOCK_BYTES } from "./test-objects.js";

const MEMBERS = 3;
const OBJECTS = 3;
const ROUNDS = 12;
/** An object of several blocks, which different members own, and how long a write waits until its body is cached. */
const OF_BLOCKS = { bytes: 4 * BLOCK_BYTES + 1_000, cachedWithinMs: 5_000 };

/** Writes through one member and reads through another one, which may have a lease of what was there before. */
describe("what was written through one of three members", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start({ processes: [], names: namesOf(MEMBERS), flags: ["--writes", "anonymous"] });
  });

  afterAll(() => cluster?.[Symbol.asyncDispose]());

  const url = (member: number, key: string): string => `http://${hostOf(member % MEMBERS)}:${cluster.port + 1}/s3/bucket/${key}`;

  async function read(member: number, key: string): Promise<string> {
    const response = await fetch(url(member, key));
    const text = await response.text();
    return response.status === 200 ? text : `status ${response.status}`;
  }

  async function write(member: number, key: string, body: string): Promise<void> {
    const response = await fetch(url(member, key), { method: "PUT", body });
    expect([response.status, await response.text()]).toEqual([200, ""]);
  }

  it("is read through every member at once, whatever they had read before", async () => {
    const run = async (object: number): Promise<void> => {
      const key = `object-${object}`;
      for (let round = 0; round < ROUNDS; round++) {
        const body = `${key}, round ${round}: ${"x".repeat(round)}`;
        await write(object + round, key, body);
        const members = Array.from({ length: MEMBERS }, (_, member) => member);
        expect(await Promise.all(members.map((member) => read(member, key)))).toEqual(members.map(() => body));
      }
    };
    await Promise.all(Array.from({ length: OBJECTS }, (_, object) => run(object)));
  });

  it("is read through every member without a request to the origin, whoever owns its blocks", async () => {
    for (let writer = 0; writer < MEMBERS; writer++) {
      const body = rampBytes(0, OF_BLOCKS.bytes, writer);
      const beganMs = performance.now();
      const written = await fetch(url(writer, "cached"), { method: "PUT", body });
      expect([written.status, await written.text()]).toEqual([200, ""]);
      const isInTime = performance.now() - beganMs < OF_BLOCKS.cachedWithinMs;
      cluster.origin.traffic.reset();
      for (let member = 0; member < MEMBERS; member++) {
        const answer = Buffer.from(await (await fetch(url(member, "cached"))).arrayBuffer());
        expect(answer.equals(body)).toBe(true);
      }
      // A starved member answers before the bytes are cached.
      expect(isInTime ? cluster.origin.traffic.gets : []).toEqual([]);
    }
  });

  it("is gone everywhere when it is deleted", async () => {
    await write(0, "deleted", "bytes");
    for (let member = 0; member < MEMBERS; member++) expect(await read(member, "deleted")).toBe("bytes");
    const { status } = await fetch(url(1, "deleted"), { method: "DELETE" });
    expect(status).toBe(204);
    for (let member = 0; member < MEMBERS; member++) expect(await read(member, "deleted")).toBe("status 404");
    await write(2, "deleted", "again");
    for (let member = 0; member < MEMBERS; member++) expect(await read(member, "deleted")).toBe("again");
  });
});
