import type { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { testGeometry } from "../testing/store-fixture.js";
import { bytesOf } from "../testing/value-bodies.js";
import { patterned, requestOf } from "../testing/value-samples.js";
import { ValuesCluster } from "../testing/values-cluster.js";

const KEY = "k";
const { segmentBytes } = testGeometry;
const SIZE = 2 * segmentBytes;

/** Members that have all bytes of an upload. The two that keep it come first, and cannot reach each other any more; each reaches the third. */
async function divided(bytes: Buffer) {
  const cluster = await ValuesCluster.open({ names: ["a", "b", "c"] });
  await cluster.advance(1_000);
  await cluster.values("a").begin({ ...requestOf(KEY), size: bytes.length, exclusive: false });
  await cluster.values("a").writeRange(requestOf(KEY), 0, bytes);
  const [one, two, three] = cluster.ring(requestOf(KEY).url) as [string, string, string];
  cluster.cut(one, two);
  const write = async (at: string, offset: number, length: number, fill: number): Promise<void> => {
    cluster.clock.advance(10);
    await cluster.values(at).writeRange(requestOf(KEY), offset, Buffer.alloc(length, fill));
    bytes.fill(fill, offset, offset + length);
  };
  const finalize = async (at: string): Promise<string | undefined> =>
    cluster
      .values(at)
      .finalize(requestOf(KEY))
      .then(
        () => undefined,
        (error: CacheError) => error.code,
      );
  const expectEverywhere = async (): Promise<void> => {
    for (const name of cluster.names) {
      const found = await bytesOf(await cluster.values(name).open({ ...requestOf(KEY), offset: 0 }));
      expect(found.equals(bytes)).toBe(true);
    }
  };
  return { cluster, one, two, three, write, finalize, expectEverywhere };
}

describe("an upload whose members could not reach each other while ranges were replaced", () => {
  it("has the newest bytes of each range, whichever member took them", async () => {
    for (const through of [0, 1, 2]) {
      const { cluster, one, two, three, write, finalize, expectEverywhere } = await divided(patterned(SIZE));
      await write(one, 0, 300, 1);
      await write(two, 200, 300, 2);
      await write(two, segmentBytes - 50, 100, 3);
      await write(one, segmentBytes, 100, 4);
      await write(one, SIZE - 1, 1, 5);
      cluster.heal();
      expect(await finalize([one, two, three][through]!)).toBeUndefined();
      await expectEverywhere();
      await cluster.close();
    }
  });

  it("has the newest bytes of a range that all members took afterwards", async () => {
    const { cluster, one, two, three, write, finalize, expectEverywhere } = await divided(patterned(SIZE));
    await write(one, 0, 300, 1);
    await write(two, 0, 300, 2);
    cluster.heal();
    await write(three, 100, 100, 3);
    expect(await finalize(three)).toBeUndefined();
    await expectEverywhere();
    await cluster.close();
  });

  it("is not finalized while one of them does not answer, which may have the newest bytes", async () => {
    const { cluster, one, two, write, finalize, expectEverywhere } = await divided(patterned(SIZE));
    await write(one, 0, 300, 1);
    await write(two, 0, 300, 2);
    for (const name of [one, two]) expect(await finalize(name)).toBe("UNAVAILABLE");
    cluster.heal();
    expect(await finalize(one)).toBeUndefined();
    await expectEverywhere();
    await cluster.close();
  });

  it("is finalized without a member that has died", async () => {
    const { cluster, one, two, three, write, finalize, expectEverywhere } = await divided(patterned(SIZE));
    await write(one, 0, 300, 1);
    cluster.destroy(two);
    expect(await finalize(three)).toBeUndefined();
    await expectEverywhere();
    await cluster.close();
  });

  it("is not finalized if they missed too many writes of each other to tell which bytes are the newest", async () => {
    const { cluster, one, two, write, finalize } = await divided(patterned(SIZE));
    for (let at = 0; at <= 1_000; at++) await write(one, 2 * at, 1, 1);
    await write(two, 0, 1, 2);
    cluster.heal();
    expect(await finalize(one)).toBe("UNAVAILABLE");
    await cluster.close();
  });

  it("is finalized after many writes that one member has missed, and that has taken none alone", async () => {
    const { cluster, one, write, finalize, expectEverywhere } = await divided(patterned(SIZE));
    for (let at = 0; at <= 1_000; at++) await write(one, 2 * at, 1, 1);
    cluster.heal();
    expect(await finalize(one)).toBeUndefined();
    await expectEverywhere();
    await cluster.close();
  });
});

describe("an upload of which members have different bytes, because a write broke off", () => {
  it("is finalized with those of one member", async () => {
    const bytes = patterned(SIZE);
    const { cluster, one, two, three, finalize } = await divided(bytes);
    cluster.heal();
    async function* breaking(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(segmentBytes, 7);
      await cluster.settle();
      throw new Error("the client went away");
    }
    await expect(cluster.values(one).writeRange(requestOf(KEY), 0, breaking())).rejects.toThrow();
    expect(await finalize(three)).toBeUndefined();
    const read = async (name: string): Promise<Buffer> =>
      bytesOf(await cluster.values(name).open({ ...requestOf(KEY), offset: 0 }));
    const found = await read(one);
    for (const name of [two, three]) expect((await read(name)).equals(found)).toBe(true);
    await cluster.close();
  });
});
