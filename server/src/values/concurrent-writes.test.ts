import { CacheError } from "@frontcache/proto";
import { until } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { bytesOf, openWhenWritten, SentBody } from "../testing/value-bodies.js";
import { patterned, requestOf } from "../testing/value-samples.js";
import { ValuesCluster, type ValuesClusterOptions } from "../testing/values-cluster.js";
import type { ValueConflict, ValueEvent } from "./values.js";
import { WHOLE_BYTES } from "./write-memory.js";

const KEY = "k";
const { url: URL } = requestOf(KEY);
const NAMES = ["a", "b", "c"];

async function clusterOf(before?: ValuesClusterOptions["before"]): Promise<ValuesCluster> {
  const cluster = await ValuesCluster.open({ names: NAMES, before });
  await cluster.advance(1_000);
  return cluster;
}

async function outcomeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "done",
    (error: CacheError) => (error as ValueConflict).reason ?? error.code,
  );
}

/** Writes all ranges of an upload. */
async function uploaded(cluster: ValuesCluster, bytes: Buffer): Promise<void> {
  const values = cluster.values("a");
  await values.begin({ ...requestOf(KEY), size: bytes.length, exclusive: false });
  await values.writeRange(requestOf(KEY), 0, bytes);
}

/** All members return the value with these bytes, and two keep it. */
async function expectEverywhere(cluster: ValuesCluster, bytes: Buffer): Promise<void> {
  for (const name of NAMES) {
    const found = await bytesOf(await cluster.values(name).open({ ...requestOf(KEY), offset: 0 }));
    expect(found.equals(bytes)).toBe(true);
  }
  const copies = (): number => NAMES.reduce((sum, name) => sum + cluster.values(name).stats().entries, 0);
  expect(await cluster.within(() => copies() === 2)).toBe(true);
}

describe("an upload that is finalized by several clients", () => {
  it("becomes the value, whichever of them is first, and the others get a clear error at most", async () => {
    const bytes = patterned(70_001);
    for (const finalizing of [["a", "b"], ["b", "a"], ["c", "b", "a"], NAMES, ["a", "a"]]) {
      const cluster = await clusterOf();
      await uploaded(cluster, bytes);
      const outcomes = await Promise.all(finalizing.map((name) => outcomeOf(cluster.values(name).finalize(requestOf(KEY)))));
      expect(outcomes).toContain("done");
      for (const outcome of outcomes) expect(["done", "finalizing", "NOT_FOUND"]).toContain(outcome);
      await expectEverywhere(cluster, bytes);
      await cluster.close();
    }
  });

  it("becomes the value of one of them if its first holder is still writing it, and the other one gets a conflict", async () => {
    const bytes = patterned(70_001);
    const cluster = await clusterOf();
    const [one, two, three] = cluster.ring(URL) as [string, string, string];
    const values = cluster.values(three);
    await values.begin({ ...requestOf(KEY), size: bytes.length, exclusive: false });
    await values.writeRange(requestOf(KEY), 0, bytes.subarray(0, 65_536));
    // The last range is in memory at both holders, and on neither disk.
    let holding = 0;
    let resume = (): void => {};
    const known = new Promise<undefined>((resolve) => {
      resume = () => resolve(undefined);
    });
    for (const name of [one, two]) {
      cluster.disk(name).before = (operation) => {
        if (operation !== "create") return undefined;
        holding++;
        return known;
      };
    }
    const written = values.writeRange(requestOf(KEY), 65_536, bytes.subarray(65_536));
    await until(() => holding >= 2);
    const first = cluster.values(one).finalize(requestOf(KEY));
    expect(await outcomeOf(cluster.values(two).finalize(requestOf(KEY)))).toBe("finalizing");
    resume();
    expect((await first).size).toBe(bytes.length);
    expect((await written).presentBytes).toBe(bytes.length);
    await expectEverywhere(cluster, bytes);
    await cluster.close();
  });

  it("becomes the value if the second request comes while the first one has finalized it at one holder only", async () => {
    const bytes = patterned(70_001);
    let isHeld = true;
    let resume = (): void => {};
    const known = new Promise<void>((resolve) => {
      resume = resolve;
    });
    const cluster = await clusterOf(async (_from, _to, call) => {
      if (call.commit === undefined || !isHeld) return;
      isHeld = false;
      await known;
    });
    await uploaded(cluster, bytes);
    const [one, two, three] = cluster.ring(URL) as [string, string, string];
    const first = cluster.values(one).finalize(requestOf(KEY));
    await until(() => !isHeld);
    const second = await outcomeOf(cluster.values(three).finalize(requestOf(KEY)));
    expect(["done", "finalizing", "NOT_FOUND"]).toContain(second);
    resume();
    expect((await first).size).toBe(bytes.length);
    expect(await outcomeOf(cluster.values(two).finalize(requestOf(KEY)))).toBe("NOT_FOUND");
    await expectEverywhere(cluster, bytes);
    await cluster.close();
  });
});

describe("a writer whose member dies", () => {
  it("ends its readers with an error within 20 seconds, and frees the key", async () => {
    const cluster = await clusterOf();
    const [one, two, three] = cluster.ring(URL) as [string, string, string];
    const body = new SentBody();
    cluster
      .values(three)
      .put(requestOf(KEY), body)
      .catch(() => {});
    body.send(patterned(20_000));
    const reads = [await openWhenWritten(cluster.values(one), KEY), await openWhenWritten(cluster.values(two), KEY)];
    const outcomes = reads.map((read) => outcomeOf(bytesOf(read)));
    const refused = { ...requestOf(KEY), whileWritten: "refuse" } as const;
    expect(await outcomeOf(cluster.values(one).put(refused, patterned(5)))).toBe("already_started");
    cluster.kill(three);
    await cluster.advance(20_000);
    expect(await Promise.all(outcomes)).toEqual(["UNAVAILABLE", "UNAVAILABLE"]);
    expect(await cluster.values(two).head(requestOf(KEY))).toBeUndefined();
    await cluster.values(two).put(refused, patterned(5));
    for (const name of [one, two]) expect(cluster.values(name).stats().writers).toBe(0);
    await cluster.close();
  });
});

describe("a value of more than 1 MiB, which is sent on while it arrives", () => {
  const bytes = patterned(WHOLE_BYTES + 200_000);

  /** Begins to write it at its first holder. */
  function begun(cluster: ValuesCluster): { readonly body: SentBody; readonly put: Promise<string> } {
    const [first] = cluster.ring(URL) as [string];
    const body = new SentBody();
    const put = outcomeOf(cluster.values(first).put({ ...requestOf(KEY), size: bytes.length }, body));
    body.send(bytes.subarray(0, 100_000));
    return { body, put };
  }

  it("is kept by two members", async () => {
    const cluster = await clusterOf();
    const { body, put } = begun(cluster);
    body.send(bytes.subarray(100_000));
    body.end();
    expect(await put).toBe("done");
    await expectEverywhere(cluster, bytes);
    await cluster.close();
  });

  it("is kept by one member if the other one dies meanwhile, which is counted, and by two again soon", async () => {
    const cluster = await clusterOf();
    const [first, second] = cluster.ring(URL) as [string, string];
    const { body, put } = begun(cluster);
    await cluster.settle();
    cluster.kill(second);
    body.send(bytes.subarray(100_000));
    body.end();
    expect(await put).toBe("done");
    expect(cluster.values(first).stats().underReplicated).toBe(1);
    await cluster.start(second);
    await expectEverywhere(cluster, bytes);
    await cluster.close();
  });

  it("is nowhere if its writer fails, and leaves the key free", async () => {
    const cluster = await clusterOf();
    const { body, put } = begun(cluster);
    await cluster.settle();
    body.end(new CacheError("CANCELLED", "the client disconnected"));
    expect(await put).toBe("CANCELLED");
    for (const name of NAMES) {
      expect(cluster.values(name).stats()).toMatchObject({ writers: 0, entries: 0 });
      expect(await cluster.values(name).head(requestOf(KEY))).toBeUndefined();
    }
    await cluster.values("a").put({ ...requestOf(KEY), whileWritten: "refuse" }, patterned(5));
    await cluster.close();
  });
});

describe("monitors at any member", () => {
  it("get the events of the requests that all members took", async () => {
    const cluster = await clusterOf();
    const abort = new AbortController();
    const { principal } = requestOf("");
    const received = NAMES.map((name) => {
      const events: ValueEvent[] = [];
      const watch = cluster.values(name).monitor({ bucket: "bucket", prefix: "m/", principal, signal: abort.signal });
      const ended = (async () => {
        for await (const event of watch) events.push(event);
      })();
      return { events, ended };
    });
    await cluster.settle();
    for (const name of NAMES) {
      await cluster.values(name).put(requestOf(`m/${name}`), patterned(10));
      await cluster.values(name).put(requestOf(`other/${name}`), patterned(10));
    }
    for (const [at, name] of NAMES.entries()) await cluster.values(NAMES[(at + 1) % 3]!).delete(requestOf(`m/${name}`));
    expect(await cluster.within(() => received.every(({ events }) => events.length === 9))).toBe(true);
    abort.abort();
    for (const { events, ended } of received) {
      await ended;
      for (const name of NAMES) {
        const ofKey = events.filter(({ url }) => url === requestOf(`m/${name}`).url).map(({ event }) => event);
        // Events of one member arrive in order; the deletion was another member's.
        expect(ofKey.filter((event) => event !== "delete")).toEqual(["insert", "ready"]);
        expect(ofKey).toContain("delete");
      }
    }
    await cluster.close();
  });
});

describe("ten writers and fifty readers of the same keys", () => {
  /** A body that says which one it is. */
  function named(number: number): Buffer {
    const bytes = patterned(2_000 + ((number * 7_919) % 40_000), number);
    bytes.writeUInt32BE(number);
    return bytes;
  }

  async function* inPieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 9_000) {
      yield bytes.subarray(at, at + 9_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  it("read whole values of one writer, or get an error", async () => {
    const cluster = await clusterOf();
    const keys = ["one", "two", "three"];
    const found = { whole: 0, wrong: 0, errors: new Set<string>(), refused: new Set<string>() };
    let [number, writing] = [0, 10];
    const writer = async (of: number): Promise<void> => {
      for (let round = 0; round < 6; round++) {
        const bytes = named(++number);
        const key = keys[(of + round) % keys.length]!;
        const put = cluster.values(NAMES[number % 3]!).put(requestOf(key), number % 3 === 0 ? bytes : inPieces(bytes));
        await put.catch((error: CacheError) => found.refused.add(error.code));
      }
      writing--;
    };
    const reader = async (of: number): Promise<void> => {
      for (let read = of; writing > 0; read++) {
        try {
          const request = { ...requestOf(keys[read % 3]!), offset: 0, follow: of % 2 === 0 };
          const bytes = await bytesOf(await cluster.values(NAMES[(read >> 2) % 3]!).open(request));
          found[bytes.length >= 4 && bytes.equals(named(bytes.readUInt32BE())) ? "whole" : "wrong"]++;
        } catch (error) {
          found.errors.add((error as CacheError).code);
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
    await Promise.all([...numbers(10).map(writer), ...numbers(50).map(reader)]);
    expect(found.wrong).toBe(0);
    for (const code of found.errors) expect(["NOT_FOUND", "UNAVAILABLE", "FAILED_PRECONDITION"]).toContain(code);
    // A writer gives up if others were faster five times.
    for (const code of found.refused) expect(code).toBe("FAILED_PRECONDITION");
    // Afterwards all members return the same value of each key.
    for (const key of keys) {
      const all = await Promise.all(
        NAMES.map(async (name) => bytesOf(await cluster.values(name).open({ ...requestOf(key), offset: 0 }))),
      );
      expect(all[0]!.equals(named(all[0]!.readUInt32BE()))).toBe(true);
      for (const each of all) expect(each.equals(all[0]!)).toBe(true);
    }
    await cluster.close();
  });
});
