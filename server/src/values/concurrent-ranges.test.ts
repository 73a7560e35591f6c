import { until } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { testGeometry } from "../testing/store-fixture.js";
import { bytesOf } from "../testing/value-bodies.js";
import { patterned, requestOf } from "../testing/value-samples.js";
import { ValuesCluster } from "../testing/values-cluster.js";

const KEY = "k";
const { blockBytes, segmentBytes } = testGeometry;

async function uploaded(names: readonly string[], bytes: Buffer): Promise<ValuesCluster> {
  const cluster = await ValuesCluster.open({ names });
  await cluster.advance(1_000);
  await cluster.values("a").begin({ ...requestOf(KEY), size: bytes.length, exclusive: false });
  await cluster.values("a").writeRange(requestOf(KEY), 0, bytes);
  return cluster;
}

async function expectFinalized(cluster: ValuesCluster, bytes: Buffer): Promise<void> {
  await cluster.values("a").finalize(requestOf(KEY));
  for (const name of cluster.names) {
    const found = await bytesOf(await cluster.values(name).open({ ...requestOf(KEY), offset: 0 }));
    expect(found.equals(bytes)).toBe(true);
  }
}

describe("ranges of an upload that are written while others of the same block are", () => {
  it("replace stored bytes, although another segment of the block is dropped while theirs is read", async () => {
    const bytes = patterned(2 * segmentBytes);
    const cluster = await uploaded(["a"], bytes);
    const values = cluster.values("a");
    const disk = cluster.disk("a");
    let resume: (() => void) | undefined;
    disk.before = (operation) => {
      if (operation !== "read" || resume !== undefined) return undefined;
      return new Promise((resolve) => {
        resume = () => resolve(undefined);
      });
    };
    const second = values.writeRange(requestOf(KEY), segmentBytes + 10, Buffer.alloc(20, 2));
    await until(() => resume !== undefined);
    await values.writeRange(requestOf(KEY), 10, Buffer.alloc(20, 1));
    resume!();
    await second;
    bytes.fill(1, 10, 30).fill(2, segmentBytes + 10, segmentBytes + 30);
    await expectFinalized(cluster, bytes);
    await cluster.close();
  });

  it("replace stored bytes of the same segment, whichever comes first", async () => {
    const bytes = patterned(segmentBytes);
    const cluster = await uploaded(["a"], bytes);
    const write = (offset: number, fill: number): Promise<unknown> =>
      cluster.values("a").writeRange(requestOf(KEY), offset, Buffer.alloc(100, fill));
    await Promise.all([write(0, 1), write(200, 2), write(400, 3)]);
    bytes.fill(1, 0, 100).fill(2, 200, 300).fill(3, 400, 500);
    await expectFinalized(cluster, bytes);
    await cluster.close();
  });

  it("all count when many are written at once, again and again, through any member", async () => {
    const bytes = patterned(blockBytes + 3 * segmentBytes);
    const cluster = await uploaded(["a", "b", "c"], bytes);
    for (let round = 2; round <= 4; round++) {
      patterned(bytes.length, round).copy(bytes);
      const writes: Promise<unknown>[] = [];
      for (let offset = 0; offset < bytes.length; offset += 5_000) {
        const name = cluster.names[writes.length % 3]!;
        writes.push(cluster.values(name).writeRange(requestOf(KEY), offset, bytes.subarray(offset, offset + 5_000)));
      }
      await Promise.all(writes);
    }
    await expectFinalized(cluster, bytes);
    await cluster.close();
  });

  it("replace stored bytes at one holder only, if the other one fails, whose old bytes are no part of the value then", async () => {
    for (const failing of [0, 1]) {
      const bytes = patterned(2 * segmentBytes);
      const cluster = await uploaded(["a", "b", "c"], bytes);
      const ring = cluster.ring(requestOf(KEY).url);
      const alone = ring[1 - failing]!;
      for (const name of cluster.names) if (name !== alone) cluster.cut(alone, name);
      bytes.fill(9, 100, 200);
      await cluster.values(alone).writeRange(requestOf(KEY), 100, bytes.subarray(100, 200));
      cluster.heal();
      await expectFinalized(cluster, bytes);
      await cluster.close();
    }
  });
});
