import { type CacheClient, ValueConflict, type ValueObjects } from "@frontcache/client";
import { eventually } from "@frontcache/proto/testing";
import { afterAll, beforeAll, expect, it } from "vitest";
import { namesOf } from "../e2e/addresses.js";
import { Cluster, type Surroundings } from "../e2e/cluster.js";
import { staticPods } from "../e2e/cluster-pods.js";
import { connectClient } from "../e2e/member-process.js";
import { rampBytes } from "../emulators/s3.js";

const MiB = 1 << 20;

let cluster: Cluster;
let clients: CacheClient[];
/** The values of one bucket, by a client of each member. */
let byMember: ValueObjects[];

beforeAll(async () => {
  const pods = async ({ places, port }: Surroundings) => staticPods(places, port, undefined, true);
  cluster = await Cluster.start({ names: namesOf(3), pods, flags: ["--cache-bucket", "work:1h"] });
  clients = await Promise.all(cluster.names.map((name) => connectClient({ endpoint: cluster.addressOf(name) })));
  byMember = clients.map((client) => client.objects("work"));
});
afterAll(async () => {
  for (const client of clients ?? []) await client.close();
  await cluster?.[Symbol.asyncDispose]();
});

it("clients of different members write ranges of one upload in any order, and any of them finalizes it", async () => {
  const bytes = rampBytes(0, 9 * MiB + 5, 1);
  const [one, two, three] = byMember as [ValueObjects, ValueObjects, ValueObjects];
  await one.createSparse("upload", bytes.length);
  const offsets = [7, 2, 9, 0, 4, 8, 1, 6, 3].map((piece) => piece * MiB);
  await Promise.all(offsets.map((at, index) => byMember[index % 3]!.writeRange("upload", at, bytes.subarray(at, at + MiB))));
  const early = await two.finalize("upload").catch((error: unknown) => error);
  expect(early).toBeInstanceOf(ValueConflict);
  expect((early as ValueConflict).completion?.missing).toEqual([{ start: 5 * MiB, end: 6 * MiB }]);
  await three.writeRange("upload", 5 * MiB, bytes.subarray(5 * MiB, 6 * MiB));
  expect(await two.finalize("upload")).toMatchObject({ size: bytes.length });
  for (const values of byMember) expect((await values.get("upload")).equals(bytes)).toBe(true);
});

it("a client of another member follows a writer, and is told when a second one begins", async () => {
  const bytes = rampBytes(0, 3 * MiB, 2);
  const writer = byMember[0]!.insertStream("followed");
  await writer.write(bytes.subarray(0, MiB));
  const { stream } = await eventually(async () => {
    const found = await byMember[1]!.lookup("followed");
    if (found === undefined) throw new Error("the writer has not begun");
    return found;
  });
  await expect(byMember[2]!.insert("followed", "other")).rejects.toMatchObject({ reason: "already_started" });
  const reading = (async () => {
    const pieces: Uint8Array[] = [];
    for await (const piece of stream) pieces.push(piece);
    return Buffer.concat(pieces);
  })();
  await writer.write(bytes.subarray(MiB));
  await writer.finish();
  expect((await reading).equals(bytes)).toBe(true);
});

it("a lock that a client takes holds against clients of all members", async () => {
  await byMember[0]!.put("locked", "1");
  {
    await using _lock = await byMember[1]!.lock("locked");
    for (const values of byMember) await expect(values.delete("locked")).rejects.toMatchObject({ reason: "locked" });
  }
  expect(await byMember[2]!.delete("locked")).toBe(true);
  for (const values of byMember) expect(await values.exists("locked")).toBe(false);
});
