import { afterEach, describe, expect, it } from "vitest";
import { MemoryPoolDisk } from "../testing/memory-pool-disk.js";
import { jsonCodec } from "./codec.js";
import type { PersistedValues } from "./persisted-values.js";
import { Pool } from "./pool.js";
import type { Pooled } from "./pooled.js";

/** For a long run: `npm run pool -- 1000000`. */
const OPERATIONS = Number(process.env.FRONTCACHE_POOL_OPERATIONS ?? 20_000);
const WORKERS = 4;
const ITEMS = 8;
const MOST_HANDLES = 40;
const OPERATIONS_PER_LIFE = 500;

/** What a value must be: shared by the handles that are clones of each other. */
interface Cell {
  text: string;
}

interface Known {
  readonly handle: Pooled<Value>;
  /** The last one is the current one. The others are of before a change gave the handle a copy of a shared value. */
  readonly cells: Cell[];
}

function cellOf({ cells }: Known): Cell {
  return cells.at(-1)!;
}

interface Value {
  text: string;
}

/** mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Random operations of concurrent callers on a pool, beside a model of what each value must be. */
class World {
  readonly random: () => number;
  disk: MemoryPoolDisk;
  pool!: Pool<Value>;
  persisted!: PersistedValues;
  known: Known[] = [];
  /** Persisted values by key. */
  readonly links = new Map<string, string>();
  /** Persisted values that survive a loss of power. */
  readonly synced = new Set<string>();
  operations = 0;
  #next = 0;
  #keys = 0;
  #unlinks = 0;
  readonly #linked = new Set<string>();
  /** Persisted through the present object, whose `sync` covers them. */
  readonly #persistedHere = new Set<string>();
  #lastFull = Number.NEGATIVE_INFINITY;

  constructor(seed: number) {
    this.random = randomFrom(seed);
    this.disk = new MemoryPoolDisk(this.random);
  }

  async open(): Promise<void> {
    const newKey = (): string => (++this.#keys).toString(16).padStart(32, "0").split("").reverse().join("");
    const options = { directory: "/pool", codec: jsonCodec<Value>(), budget: { items: ITEMS }, newKey };
    this.pool = await Pool.openOn(this.disk, options, async () => async () => undefined);
    this.persisted = await this.pool.persisted("/persisted");
    expect(this.disk.filesBelow("/pool")).toEqual([]);
    // A link appears before the caller knows of it.
    for (const key of await this.persisted.keys()) {
      if (!this.links.has(key)) await this.persisted.delete(key);
    }
    expect((await this.persisted.keys()).sort()).toEqual([...this.links.keys()].sort());
  }

  below(end: number): number {
    return Math.floor(this.random() * end);
  }

  /** One caller. Every rejection that a caller must expect is checked here; anything else fails the test. */
  async work(until: number): Promise<void> {
    while (this.operations < until) {
      this.operations++;
      try {
        await this.#operation();
      } catch (error) {
        const { code } = error as { code?: string };
        // A write that found the disk full may be reported after the disk has room again.
        const isDiskFull = code === "RESOURCE_EXHAUSTED" && this.#wasFull();
        // A handle that another caller has disposed of meanwhile; an abort.
        if (!isDiskFull && code !== "FAILED_PRECONDITION" && code !== "CANCELLED") throw error;
      }
    }
  }

  #wasFull(): boolean {
    if (this.disk.isFull) this.#lastFull = this.operations;
    return this.operations - this.#lastFull < 50;
  }

  async #operation(): Promise<void> {
    const known = this.known[this.below(this.known.length)];
    const choice = this.below(100);
    if (known === undefined || (choice < 15 && this.known.length < MOST_HANDLES)) return this.#insert();
    if (choice < 45) return this.#load(known);
    if (choice < 50) return this.#tryLoad(known);
    if (choice < 60) return this.#change(known);
    if (choice < 66) return this.#persist(known);
    if (choice < 69) return known.handle.write();
    if (choice < 74) return this.#register();
    if (choice < 79) return this.#clone(known);
    if (choice < 81) return this.#loadAborted(known);
    if (choice < 83) return this.#unlink();
    if (choice < 84) return this.#sync();
    if (choice < 85) {
      this.#wasFull();
      this.disk.isFull = this.random() < 0.4;
      return;
    }
    this.#dispose(known);
  }

  async #insert(): Promise<void> {
    const cell = { text: `value ${this.#next++} ${"x".repeat(this.below(50))}` };
    const handle = await this.pool.insert({ ...cell });
    this.known.push({ handle, cells: [cell] });
  }

  async #load(known: Known): Promise<void> {
    const first = known.cells.length - 1;
    using loaded = await known.handle.load();
    // A load that began before a change gave the handle a copy of its own may return the value that the others share.
    const cell = known.cells.slice(first).find(({ text }) => text === loaded.value.text);
    expect(cell, `${loaded.value.text} of ${cellOf(known).text}`).toBeDefined();
    for (let ticks = this.below(20); ticks > 0; ticks--) await undefined;
    expect(loaded.value.text).toBe(cell!.text);
  }

  #tryLoad(known: Known): void {
    using loaded = known.handle.tryLoad();
    if (loaded !== undefined) expect(loaded.value.text).toBe(cellOf(known).text);
  }

  async #loadAborted(known: Known): Promise<void> {
    const abort = new AbortController();
    const loading = known.handle.load({ signal: abort.signal });
    for (let ticks = this.below(6); ticks > 0; ticks--) await undefined;
    abort.abort();
    (await loading)[Symbol.dispose]();
  }

  async #change(known: Known): Promise<void> {
    using mutable = await known.handle.loadMutable();
    expect(mutable.value.text).toBe(cellOf(known).text);
    const cell = { text: cellOf(known).text };
    known.cells.push(cell);
    for (let ticks = this.below(10); ticks > 0; ticks--) await undefined;
    const text = `changed ${this.#next++}`;
    if (this.random() < 0.5) mutable.value.text = text;
    else mutable.value = { text };
    cell.text = text;
  }

  async #persist({ handle }: Known): Promise<void> {
    // Of its own, so that no change can give it another key.
    using own = handle.clone();
    using loaded = await own.load();
    await this.#linking(own.key, async () => {
      await own.persist(this.persisted);
      this.links.set(own.key, loaded.value.text);
      this.#persistedHere.add(own.key);
    });
  }

  /** Links and unlinks one value at a time, since the outcome of both at once is open. */
  async #linking(key: string, work: () => Promise<void>): Promise<void> {
    if (this.#linked.has(key)) return;
    this.#linked.add(key);
    try {
      await work();
    } finally {
      this.#linked.delete(key);
    }
  }

  async #register(): Promise<void> {
    const keys = [...this.links.keys()];
    const key = keys[this.below(keys.length)];
    if (key === undefined || this.known.length >= MOST_HANDLES) return;
    const text = this.links.get(key)!;
    const sharing = this.known.find(({ handle }) => handle.key === key);
    const unlinks = this.#unlinks;
    const handle = await this.pool.register(this.persisted, key);
    if (handle === undefined) return expect(this.#unlinks).toBeGreaterThan(unlinks);
    // Until the result is known, the value may have been changed through the handle that shares it, which gives it a new key.
    const cell = sharing !== undefined && this.known.includes(sharing) && sharing.handle.key === key ? cellOf(sharing) : { text };
    this.known.push({ handle, cells: [cell] });
  }

  #clone(known: Known): void {
    if (this.known.length < MOST_HANDLES) this.known.push({ handle: known.handle.clone(), cells: [cellOf(known)] });
  }

  #dispose(known: Known): void {
    this.known = this.known.filter((other) => other !== known);
    known.handle[Symbol.dispose]();
  }

  async #unlink(): Promise<void> {
    const [key] = this.links.keys();
    if (key === undefined) return;
    await this.#linking(key, async () => {
      this.links.delete(key);
      this.synced.delete(key);
      this.#unlinks++;
      await this.persisted.delete(key);
    });
  }

  async #sync(): Promise<void> {
    const keys = [...this.links.keys()].filter((key) => this.#persistedHere.has(key));
    const unlinks = this.#unlinks;
    await this.persisted.sync();
    if (this.#unlinks === unlinks) for (const key of keys) this.synced.add(key);
  }

  /** Checks what holds while nobody does anything. */
  async rest(): Promise<void> {
    this.disk.isFull = false;
    await this.pool.finished();
    for (const known of this.known) {
      using loaded = await known.handle.load();
      expect(loaded.value.text).toBe(cellOf(known).text);
    }
    // The next new value writes what could not be written while the disk was full.
    (await this.pool.insert({ text: "last" }))[Symbol.dispose]();
    await this.pool.finished();
    const { inMemory, unwritten, values } = this.pool.report;
    expect(unwritten).toBe(0);
    expect(inMemory).toBeLessThanOrEqual(ITEMS);
    expect(values).toBe(new Set(this.known.map(({ handle }) => handle.key)).size);
    expect(this.disk.filesBelow("/pool").length).toBeLessThanOrEqual(values);
  }

  /** The process dies, or stops; another one begins with what is on the disk. */
  async restart(): Promise<void> {
    const how = this.random();
    if (how < 0.4) {
      const power = how < 0.2;
      this.disk = this.disk.crash({ power });
      if (power) for (const key of this.links.keys()) if (!this.synced.has(key)) this.links.delete(key);
      for (const key of this.links.keys()) this.synced.add(key);
    } else {
      await this.pool.close();
      expect(this.disk.filesBelow("/pool")).toEqual([]);
    }
    this.#persistedHere.clear();
    this.known = [];
    await this.open();
    for (const [key, text] of this.links) {
      using handle = (await this.pool.register(this.persisted, key))!;
      using loaded = await handle.load();
      expect(loaded.value.text).toBe(text);
    }
  }
}

let world: World | undefined;

afterEach(() => {
  world = undefined;
});

describe("a pool beside a model", () => {
  it(`keeps every value through ${OPERATIONS} random operations, full disks and crashes`, async () => {
    for (let life = 0; life < OPERATIONS / OPERATIONS_PER_LIFE; ) {
      world = new World(life);
      await world.open();
      for (const lives = 5; life < OPERATIONS / OPERATIONS_PER_LIFE && life % lives !== lives - 1; life++) {
        const until = world.operations + OPERATIONS_PER_LIFE;
        await Promise.all(Array.from({ length: WORKERS }, () => world!.work(until)));
        await world.rest();
        await world.restart();
      }
      life++;
      await world.pool.close();
    }
  });
});
