import type { CacheError } from "@frontcache/proto";
import { bytesOf } from "./value-bodies.js";
import { patterned, requestOf } from "./value-samples.js";
import { ValuesCluster } from "./values-cluster.js";

const STEPS = 60;
const KEYS = ["a", "b", "c", "d", "e", "f"];
const NAMES = ["one", "two", "three", "four"];
/** A member that joins and leaves. */
const GUEST = "five";

const UPLOAD_BYTES = 100_000;

/** Numbers that a seed determines. */
function randomOf(seed: number): (below: number) => number {
  let state = seed * 2_654_435_761 + 1;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) % below;
  };
}

/** What may be read of a key: what was written last, or a write of unknown outcome; undefined stands for nothing. */
interface Expected {
  allowed: (Buffer | undefined)[];
  expiresMs: number;
}

/**
 * Members that die, lose their disks, return and are cut off, while clients write, overwrite, delete and read. At most one member is lost
 * or cut off at a time, until the copies are complete again: then no value may be lost, wrong, expired or deleted, at any member. While
 * one is lost, members also fail to reach each other: then a value may be unavailable, but never missing. A member joins and leaves, and
 * others learn of that late: they read what was written by another list. Returns what was wrong.
 */
export async function simulateValues(seed: number): Promise<string[]> {
  const cluster = await ValuesCluster.open({ names: NAMES });
  const simulation = new ValuesSimulation(seed, cluster);
  await simulation.run();
  await cluster.close();
  return simulation.faults.map((fault) => `seed ${seed}: ${fault}`);
}

/** One run, which its seed determines. */
class ValuesSimulation {
  readonly faults: string[] = [];
  readonly #seed: number;
  readonly #random: (below: number) => number;
  readonly #cluster: ValuesCluster;
  readonly #model = new Map<string, Expected>();
  #version = 0;
  /** The member that is lost. */
  #away: { readonly name: string; readonly how: "dead" | "cut" } | undefined;

  constructor(seed: number, cluster: ValuesCluster) {
    this.#seed = seed;
    this.#random = randomOf(seed);
    this.#cluster = cluster;
  }

  async run(): Promise<void> {
    const cluster = this.#cluster;
    await cluster.advance(2_000);
    for (let step = 0; step < STEPS && this.faults.length === 0; step++) await this.#step();
    if (this.#away?.how === "dead") await cluster.start(this.#away.name);
    cluster.heal();
    await cluster.advance(5_000);
    await this.#checkAll();
    // Nobody reads while one disk after the other is lost: only the repair keeps the values.
    for (const name of NAMES) {
      cluster.destroy(name);
      await cluster.advance(3_000);
      await cluster.start(name);
      await cluster.advance(3_000);
    }
    await this.#checkAll();
  }

  async #step(): Promise<void> {
    const key = KEYS[this.#random(KEYS.length)]!;
    const name = this.#asked();
    switch (this.#random(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return this.#put(name, key);
      case 4:
        return this.#delete(name, key);
      case 5:
        return this.#cluster.advance(250 * (1 + this.#random(8)));
      case 6:
        return this.#away === undefined ? this.#lose() : this.#comeBack(this.#away);
      case 7:
        return this.#away === undefined ? this.#upload(key) : undefined;
      case 8:
        return this.#away === undefined ? this.#welcomeGuest() : undefined;
      default:
        return this.#check(name, key);
    }
  }

  /** A member that a client asks. */
  #asked(): string {
    const names = this.#cluster.names.filter((name) => name !== this.#away?.name);
    return names[this.#random(names.length)]!;
  }

  #expectedOf(key: string): Expected {
    const expected = this.#model.get(key) ?? { allowed: [undefined], expiresMs: 0 };
    this.#model.set(key, expected);
    const isExpired = expected.expiresMs > 0 && expected.expiresMs <= this.#cluster.clock.nowMs();
    if (isExpired) [expected.allowed, expected.expiresMs] = [[undefined], 0];
    return expected;
  }

  async #check(name: string, key: string): Promise<void> {
    let found: Buffer | undefined;
    try {
      found = await bytesOf(await this.#cluster.values(name).open({ ...requestOf(key), offset: 0 }));
    } catch (error) {
      const { code } = error as CacheError;
      if (code !== "NOT_FOUND") {
        if (code !== "UNAVAILABLE") this.faults.push(`${key} at ${name}: ${String(error)}`);
        return;
      }
    }
    const { allowed } = this.#expectedOf(key);
    const isAllowed = allowed.some((bytes) => (bytes === undefined ? found === undefined : found?.equals(bytes) === true));
    if (isAllowed) return;
    this.faults.push(`${key} at ${name}: ${found?.length ?? "nothing"}, not ${allowed.map((bytes) => bytes?.length)}`);
  }

  /** Reads at all members that run, of one key or of each. */
  async #checkAll(keys: readonly string[] = KEYS): Promise<void> {
    for (const key of keys) for (const name of this.#cluster.names) await this.#check(name, key);
  }

  async #put(name: string, key: string): Promise<void> {
    const random = this.#random;
    const expected = this.#expectedOf(key);
    const bytes = patterned(1 + random(3) * 40_000 + (this.#version++ % 1_000), this.#seed + this.#version);
    const ttlSeconds = random(4) === 0 ? 1 + random(20) : 0;
    const putMs = this.#cluster.clock.nowMs();
    const body = random(2) === 0 ? bytes : inPieces(bytes);
    const isDone = await succeeds(this.#cluster.values(name).put({ ...requestOf(key), ttlSeconds, size: bytes.length }, body));
    expected.allowed = isDone ? [bytes] : [...expected.allowed, bytes];
    expected.expiresMs = isDone && ttlSeconds > 0 ? putMs + ttlSeconds * 1_000 : 0;
  }

  async #delete(name: string, key: string): Promise<void> {
    const expected = this.#expectedOf(key);
    const isDone = await succeeds(this.#cluster.values(name).delete(requestOf(key)));
    expected.allowed = isDone ? [undefined] : [...expected.allowed, undefined];
    if (isDone) expected.expiresMs = 0;
  }

  async #upload(key: string): Promise<void> {
    const expected = this.#expectedOf(key);
    try {
      [expected.allowed, expected.expiresMs] = [[await this.#uploaded(key)], 0];
    } catch (error) {
      this.faults.push(`upload ${key}: ${String(error)}`);
    }
    await this.#checkAll([key]);
  }

  /** Replaces ranges of an upload, through any members, while some cannot reach each other. Resolves with the bytes. */
  async #uploaded(key: string): Promise<Buffer> {
    const [cluster, random] = [this.#cluster, this.#random];
    const bytes = patterned(UPLOAD_BYTES, this.#seed + ++this.#version);
    await cluster.advance(1_000);
    await cluster.values(this.#asked()).begin({ ...requestOf(key), size: bytes.length, exclusive: false });
    await cluster.values(this.#asked()).writeRange(requestOf(key), 0, bytes);
    for (let left = 1 + random(8); left > 0; left--) {
      const [one, other] = [this.#asked(), this.#asked()];
      if (random(3) === 0) cluster.heal();
      else if (one !== other) cluster.cut(one, other);
      await cluster.advance(10);
      const [start, piece] = [random(UPLOAD_BYTES - 1_000), Buffer.alloc(1 + random(1_000), this.#version + left)];
      // A member that reaches no other one that has the upload cannot take the write.
      const isWritten = await succeeds(cluster.values(this.#asked()).writeRange(requestOf(key), start, piece));
      if (isWritten) piece.copy(bytes, start);
    }
    if (random(2) === 0) cluster.heal();
    await this.#finalize(key);
    cluster.heal();
    await cluster.advance(2_000);
    return bytes;
  }

  /** A member that has bytes of the upload may be out of reach: then it succeeds once all reach each other. */
  async #finalize(key: string): Promise<void> {
    const finalize = (): Promise<unknown> => this.#cluster.values(this.#asked()).finalize(requestOf(key));
    await finalize().catch(async (error: CacheError) => {
      if (error.code !== "UNAVAILABLE" && error.code !== "NOT_FOUND") this.faults.push(`finalize ${key}: ${String(error)}`);
      this.#cluster.heal();
      await finalize().catch((again: unknown) => this.faults.push(`finalize ${key}: ${String(again)}`));
    });
  }

  /** A member is killed, loses its disk as well, or is cut off. */
  async #lose(): Promise<void> {
    const cluster = this.#cluster;
    const lost = NAMES[this.#random(NAMES.length)]!;
    const how = (["killed", "destroyed", "cut"] as const)[this.#random(3)]!;
    await cluster.advance(3_000);
    if (how === "killed") cluster.kill(lost);
    else if (how === "destroyed") cluster.destroy(lost);
    else for (const other of NAMES) if (other !== lost) cluster.cut(lost, other);
    // A member that is cut off finds that out within 2 s. Until then it may answer with older values.
    if (how === "cut") await cluster.advance(3_000);
    this.#away = { name: lost, how: how === "cut" ? "cut" : "dead" };
  }

  /** All members come back, perhaps after a second failure, and the copies are completed. */
  async #comeBack({ name, how }: { readonly name: string; readonly how: "dead" | "cut" }): Promise<void> {
    const cluster = this.#cluster;
    if (how === "dead") await this.#failFurther(name);
    if (!cluster.isRunning(name)) await cluster.start(name);
    cluster.heal();
    this.#away = undefined;
    // A read copies what a member lacks. Without reads, only the repair does.
    if (this.#random(2) === 0) for (const key of KEYS) await this.#check(this.#asked(), key);
    await cluster.advance(5_000);
  }

  /** A second failure, beside a dead member. The copy of a value that survives the first one is at a member that runs. */
  async #failFurther(dead: string): Promise<void> {
    const cluster = this.#cluster;
    const living = cluster.names;
    const one = living[this.#random(living.length)]!;
    const others = living.filter((other) => other !== one);
    switch (this.#random(3)) {
      case 0:
        for (const other of others) cluster.doubt(one, other);
        break;
      case 1:
        cluster.cut(one, others[this.#random(others.length)]!);
        break;
      default:
        for (const other of [...others, dead]) cluster.cut(one, other);
        await cluster.start(dead);
    }
    if (this.#random(2) === 0) await cluster.advance(1_000);
    await this.#checkAll();
  }

  /** A member joins, and leaves again with its disk. */
  async #welcomeGuest(): Promise<void> {
    await this.#changeList([...NAMES, GUEST]);
    await this.#changeList(NAMES);
    this.#cluster.destroy(GUEST);
  }

  /** A new list, of which some learn late: writes and reads by both lists. */
  async #changeList(names: readonly string[]): Promise<void> {
    const [cluster, random] = [this.#cluster, this.#random];
    cluster.setMembers(names, [...NAMES.filter(() => random(2) === 0), GUEST]);
    if (!cluster.isRunning(GUEST)) await cluster.start(GUEST);
    if (random(2) === 0) await cluster.advance(1_000);
    for (let left = random(4); left > 0; left--) {
      const key = KEYS[random(KEYS.length)]!;
      await this.#put(this.#asked(), key);
      await this.#checkAll([key]);
    }
    await this.#checkAll();
    cluster.setMembers(names);
    await cluster.advance(6_000);
  }
}

/** Whether a request is done. One that fails may have been done, too. */
function succeeds(request: Promise<unknown>): Promise<boolean> {
  return request.then(
    () => true,
    () => false,
  );
}

/** A body that arrives in pieces. */
async function* inPieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 16_384) yield bytes.subarray(at, at + 16_384);
}
