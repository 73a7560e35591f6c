import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bytesCodec, type Codec, jsonCodec } from "./codec.js";
import { Pool, type PoolOptions } from "./pool.js";
import { type PoolDisk, systemDisk } from "./pool-disk.js";

let root: string;
let directory: string;
let persistedAt: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "pool-"));
  directory = join(root, "pool");
  persistedAt = join(root, "persisted");
});

afterEach(() => rm(root, { recursive: true, force: true }));

const text = jsonCodec<string>();

function open(items = 2, options: Partial<PoolOptions<string>> = {}): Promise<Pool<string>> {
  return Pool.open({ directory, codec: text, budget: { items }, ...options });
}

/** Opens a pool without a lock on a disk of which some operations differ. */
function openOn(disk: Partial<PoolDisk>, items = 1): Promise<Pool<string>> {
  const options = { directory, codec: text, budget: { items } };
  return Pool.openOn({ ...systemDisk, ...disk }, options, async () => async () => undefined);
}

/** Paths of the values' files below a directory. */
function files(below: string): string[] {
  return readdirSync(below, { recursive: true, encoding: "utf8" })
    .filter((name) => name.includes("/"))
    .map((name) => join(below, name));
}

describe("the examples of file_backed", () => {
  it("insert values, load one that had to leave memory, and clean up", async () => {
    await using pool = await open(2);
    const items = [await pool.insert("Hello"), await pool.insert("World"), await pool.insert("!")];
    {
      using loaded = await items[0]!.load();
      expect(loaded.value).toBe("Hello");
    }
    for (const item of items) item[Symbol.dispose]();
    await pool.finished();
    expect(files(directory)).toEqual([]);
    expect(pool.report).toEqual({ values: 0, inMemory: 0, used: 0, unwritten: 0 });
  });

  it("persist a value, and register it after a restart", async () => {
    let key: string;
    {
      await using pool = await open(1);
      const persisted = await pool.persisted(persistedAt);
      using item = await pool.insert("Persisted Data");
      key = item.key;
      await item.persist(persisted);
      await persisted.sync();
    }
    expect(files(directory)).toEqual([]);
    await using pool = await open(1);
    using item = await pool.register(await pool.persisted(persistedAt), key);
    using loaded = await item!.load();
    expect(loaded.value).toBe("Persisted Data");
  });
});

describe("memory", () => {
  it("counts bytes by the caller's measure", async () => {
    const budget = { bytes: 10, sizeOf: (value: string) => value.length };
    await using pool = await open(0, { budget });
    using _first = await pool.insert("12345678");
    using _second = await pool.insert("abc");
    await pool.finished();
    expect(pool.report).toEqual({ values: 2, inMemory: 1, used: 3, unwritten: 0 });
  });

  it("keeps a loaded value whatever else is loaded, and reads one from its file once for all who wait", async () => {
    let reads = 0;
    await using pool = await openOn({ read: (path) => systemDisk.read(path).finally(() => reads++) });
    using kept = await pool.insert("kept");
    using _other = await pool.insert("other");
    await pool.finished();
    expect(kept.tryLoad()).toBeUndefined();
    const loads = await Promise.all([kept.load(), kept.load(), kept.load()]);
    expect([reads, ...loads.map(({ value }) => value)]).toEqual([1, "kept", "kept", "kept"]);
    using _third = await pool.insert("third");
    await pool.finished();
    expect(kept.tryLoad()?.value).toBe("kept");
    expect(reads).toBe(1);
  });

  it("does not load what is registered, and takes a value only once", async () => {
    await using pool = await open(1);
    const persisted = await pool.persisted(persistedAt);
    using item = await pool.insert("value");
    await item.persist(persisted);
    using shared = await pool.register(persisted, item.key);
    expect(shared!.key).toBe(item.key);
    expect(await pool.register(persisted, "0".repeat(32))).toBeUndefined();
    expect(pool.report.values).toBe(1);
  });

  it("ends one wait for a load, and not that of others", async () => {
    await using pool = await openOn({});
    using item = await pool.insert("value");
    using _other = await pool.insert("other");
    await pool.finished();
    const abort = new AbortController();
    const [aborted, other] = [item.load({ signal: abort.signal }), item.load()];
    abort.abort();
    await expect(aborted).rejects.toMatchObject({ code: "CANCELLED" });
    expect((await other).value).toBe("value");
  });
});

describe("a change", () => {
  it("gives the value a new key, removes its old file, and leaves a persisted link as it was", async () => {
    await using pool = await open();
    const persisted = await pool.persisted(persistedAt);
    using item = await pool.insert("before");
    const { key } = item;
    await item.persist(persisted);
    const [link] = files(persistedAt);
    const before = readFileSync(link!);
    {
      using mutable = await item.loadMutable();
      expect(() => item.clone()).toThrow("is being changed");
      expect(item.tryLoad()).toBeUndefined();
      mutable.value = "after";
    }
    await pool.finished();
    expect(item.key).not.toBe(key);
    expect(files(directory)).toEqual([]);
    expect(readFileSync(link!)).toEqual(before);
    using loaded = await item.load();
    expect(loaded.value).toBe("after");
  });

  it("waits until nobody uses the value, and has others wait", async () => {
    await using pool = await open();
    using item = await pool.insert("one");
    const order: string[] = [];
    const first = await item.load();
    const changing = item.loadMutable().then((mutable) => {
      order.push(`changes ${mutable.value}`);
      mutable.value = "two";
      return mutable;
    });
    order.push(`has ${first.value}`);
    first[Symbol.dispose]();
    const mutable = await changing;
    const reading = item.load().then(({ value }) => order.push(`reads ${value}`));
    mutable[Symbol.dispose]();
    await reading;
    expect(order).toEqual(["has one", "changes one", "reads two"]);
  });

  it("of a shared value changes a copy", async () => {
    await using pool = await Pool.open({ directory, codec: jsonCodec<{ list: number[] }>(), budget: { items: 4 } });
    using one = await pool.insert({ list: [1] });
    using other = one.clone();
    {
      using mutable = await one.loadMutable();
      mutable.value.list.push(2);
    }
    using changed = await one.load();
    using unchanged = await other.load();
    expect([changed.value.list, unchanged.value.list]).toEqual([[1, 2], [1]]);
  });
});

describe("files", () => {
  it("of persisted values are hard links that outlive the pool's, and persisting twice has no further effect", async () => {
    await using pool = await open();
    const persisted = await pool.persisted(persistedAt);
    const item = await pool.insert("value");
    await item.persist(persisted);
    await item.persist(persisted);
    expect(statSync(files(directory)[0]!).ino).toBe(statSync(files(persistedAt)[0]!).ino);
    item[Symbol.dispose]();
    await pool.finished();
    expect([files(directory), await persisted.keys()]).toEqual([[], [item.key]]);
    await persisted.delete(item.key);
    await persisted.delete(item.key);
    expect(await persisted.keys()).toEqual([]);
  });

  it("are registered again while their removal is still running", async () => {
    let remove = (): void => undefined;
    const removing = new Promise<void>((resolve) => {
      remove = resolve;
    });
    await using pool = await openOn({ remove: (path) => removing.then(() => systemDisk.remove(path)) });
    const persisted = await pool.persisted(persistedAt);
    const item = await pool.insert("value");
    await item.persist(persisted);
    item[Symbol.dispose]();
    const registering = pool.register(persisted, item.key);
    remove();
    using again = (await registering)!;
    using loaded = await again.load();
    expect(loaded.value).toBe("value");
    expect(files(directory)).toHaveLength(1);
  });

  it("of values whose handles were forgotten are removed sooner or later", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    await using pool = await open();
    await pool.insert("forgotten").then((item) => item.write());
    expect(files(directory)).toHaveLength(1);
    const left = async (): Promise<string[]> => {
      collect();
      await pool.finished();
      return files(directory);
    };
    await expect.poll(left).toEqual([]);
  });

  it("are saved as a set: all new ones survive before it is published, and the others go after it", async () => {
    await using pool = await open();
    const persisted = await pool.persisted(persistedAt);
    using old = await pool.insert("old");
    await old.persist(persisted);
    const items = [await pool.insert("a"), await pool.insert("b"), await pool.insert("c")];
    const keys = items.map(({ key }) => key);
    let published: string[] = [];
    await pool.save(items, persisted, {
      concurrency: 2,
      publish: async () => {
        published = await persisted.keys();
      },
    });
    expect(published.sort()).toEqual([...keys, old.key].sort());
    expect((await persisted.keys()).sort()).toEqual([...keys].sort());
    const failing = pool.save([], persisted, { publish: () => Promise.reject(new Error("the list cannot be written")) });
    await expect(failing).rejects.toThrow("the list cannot be written");
    expect(await persisted.keys()).toHaveLength(3);
  });

  it("of a process that died are removed by the next one", async () => {
    mkdirSync(join(directory, "ab"), { recursive: true });
    writeFileSync(join(directory, "ab", `ab${"0".repeat(30)}`), "half of a val");
    writeFileSync(join(directory, "lock"), `${process.pid} 1`);
    await using _pool = await open();
    expect(files(directory)).toEqual([]);
  });
});

describe("bad input", () => {
  it.each([{ items: 0 }, { items: 1.5 }, { bytes: -1, sizeOf: () => 1 }])("refuses the budget %j", async (budget) => {
    await expect(open(1, { budget })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("refuses a directory that another pool uses", async () => {
    await using _pool = await open();
    await expect(open()).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringMatching(new RegExp(`^${directory} is in use by process ${process.pid}`)),
    });
  });

  it("refuses a directory with files of somebody else, touches none of them, and leaves nothing there", async () => {
    mkdirSync(directory);
    writeFileSync(join(directory, "report.csv"), "1,2");
    await expect(open()).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: `${directory} contains report.csv, which is not a value of a pool: choose a directory of its own, or ignore the name`,
    });
    expect(readdirSync(directory)).toEqual(["report.csv"]);
    await rm(directory, { recursive: true });
    await using pool = await open();
    mkdirSync(join(persistedAt, "00"), { recursive: true });
    writeFileSync(join(persistedAt, "00", "notes"), "");
    await expect(pool.persisted(persistedAt)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await rm(join(persistedAt, "00"), { recursive: true });
    writeFileSync(join(persistedAt, "README"), "");
    expect(await (await pool.persisted(persistedAt, { ignore: ["README"] })).keys()).toEqual([]);
    expect(existsSync(join(persistedAt, "README"))).toBe(true);
  });

  it("refuses a path that is not a directory", async () => {
    writeFileSync(directory, "");
    await expect(open()).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });

  it.each([
    ["cut", (path: string) => truncate(path, 20), /was changed by somebody else: create the value again$/],
    ["removed", (path: string) => rm(path), /can't be read \(ENOENT\): somebody else removed it: create the value again$/],
  ])("says that a value is lost whose file somebody else has %s", async (_how, damage, message) => {
    await using pool = await open(1);
    using item = await pool.insert("value");
    using _other = await pool.insert("other");
    await pool.finished();
    await damage(files(directory)[0]!);
    await expect(item.load()).rejects.toMatchObject({ code: "NOT_FOUND", message: expect.stringMatching(message) });
  });

  it("keeps every value while the disk is full, refuses new ones, and continues when it has room", async () => {
    let isFull = true;
    const full = Object.assign(new Error("no space"), { code: "ENOSPC" });
    await using pool = await openOn({ create: (...call) => (isFull ? Promise.reject(full) : systemDisk.create(...call)) });
    const items = [await pool.insert("a"), await pool.insert("b")];
    await pool.finished();
    await expect(pool.insert("c")).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", cause: full });
    await expect(items[0]!.write()).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(pool.report).toMatchObject({ values: 2, unwritten: 1 });
    for (const [at, item] of items.entries()) expect((await item.load()).value).toBe("ab"[at]);
    await pool.finished();
    isFull = false;
    items.push(await pool.insert("c"));
    await pool.finished();
    expect(pool.report.unwritten).toBe(0);
  });

  it("names the file systems of a value that cannot be linked", async () => {
    const link = () => Promise.reject(Object.assign(new Error("cross-device"), { code: "EXDEV" }));
    await using pool = await openOn({ link });
    using item = await pool.insert("value");
    const persisted = await pool.persisted(persistedAt);
    await expect(item.persist(persisted)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("must be of one file system"),
    });
  });

  it("refuses sizes that are no numbers, and reports values that cannot be encoded", async () => {
    await using sized = await open(1, { budget: { bytes: 10, sizeOf: () => Number.NaN } });
    await expect(sized.insert("value")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const codec: Codec<Uint8Array> = { ...bytesCodec, encode: () => Promise.reject(new Error("unknown type")) };
    await using pool = await Pool.open({ directory: join(root, "other"), codec, budget: { items: 1 } });
    using item = await pool.insert(Buffer.from("value"));
    await expect(item.write()).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: `value ${item.key} can't be encoded: dispose of it`,
    });
  });

  it("refuses handles that were disposed of, and everything after the end", async () => {
    const pool = await open();
    const [kept, disposed] = [await pool.insert("kept"), await pool.insert("disposed")];
    disposed[Symbol.dispose]();
    disposed[Symbol.dispose]();
    await expect(disposed.load()).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await Promise.all([pool.close(), pool.close()]);
    for (const call of [kept.load(), kept.loadMutable(), pool.insert("late")]) {
      await expect(call).rejects.toMatchObject({ code: "FAILED_PRECONDITION", message: `the pool of ${directory} is closed` });
    }
    expect(readdirSync(directory).filter((name) => name === "lock")).toEqual([]);
  });
});
