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
  const random = randomOf(seed);
  const cluster = await ValuesCluster.open({ names: NAMES });
  const model = new Map<string, Expected>();
  const faults: string[] = [];
  let version = 0;
  let away: { readonly name: string; readonly how: "dead" | "cut" } | undefined;
  await cluster.advance(2_000);
  const { clock } = cluster;
  const asked = (): string => {
    const names = cluster.names.filter((name) => name !== away?.name);
    return names[random(names.length)]!;
  };
  const expectedOf = (key: string): Expected => {
    const expected = model.get(key) ?? { allowed: [undefined], expiresMs: 0 };
    model.set(key, expected);
    if (expected.expiresMs > 0 && expected.expiresMs <= clock.nowMs()) [expected.allowed, expected.expiresMs] = [[undefined], 0];
    return expected;
  };
  const check = async (name: string, key: string): Promise<void> => {
    let found: Buffer | undefined;
    try {
      found = await bytesOf(await cluster.values(name).open({ ...requestOf(key), offset: 0 }));
    } catch (error) {
      const { code } = error as CacheError;
      if (code !== "NOT_FOUND") {
        if (code !== "UNAVAILABLE") faults.push(`${key} at ${name}: ${String(error)}`);
        return;
      }
    }
    const { allowed } = expectedOf(key);
    const isAllowed = allowed.some((bytes) => (bytes === undefined ? found === undefined : found?.equals(bytes) === true));
    if (!isAllowed) faults.push(`${key} at ${name}: ${found?.length ?? "nothing"}, not ${allowed.map((bytes) => bytes?.length)}`);
  };
  /** A second failure, beside a dead member. The copy of a value that survives the first one is at a member that runs. */
  const failFurther = async (dead: string): Promise<void> => {
    const living = cluster.names;
    const one = living[random(living.length)]!;
    const others = living.filter((other) => other !== one);
    switch (random(3)) {
      case 0:
        for (const other of others) cluster.doubt(one, other);
        break;
      case 1:
        cluster.cut(one, others[random(others.length)]!);
        break;
      default:
        for (const other of [...others, dead]) cluster.cut(one, other);
        await cluster.start(dead);
    }
    if (random(2) === 0) await cluster.advance(1_000);
    for (const key of KEYS) for (const name of cluster.names) await check(name, key);
  };
  /** Replaces ranges of an upload, through any members, while some cannot reach each other. Resolves with the bytes. */
  const upload = async (key: string): Promise<Buffer> => {
    const bytes = patterned(UPLOAD_BYTES, seed + ++version);
    await cluster.advance(1_000);
    await cluster.values(asked()).begin({ ...requestOf(key), size: bytes.length, exclusive: false });
    await cluster.values(asked()).writeRange(requestOf(key), 0, bytes);
    for (let left = 1 + random(8); left > 0; left--) {
      const [one, other] = [asked(), asked()];
      if (random(3) === 0) cluster.heal();
      else if (one !== other) cluster.cut(one, other);
      await cluster.advance(10);
      const [start, piece] = [random(UPLOAD_BYTES - 1_000), Buffer.alloc(1 + random(1_000), version + left)];
      // A member that reaches no other one that has the upload cannot take the write.
      const isWritten = await cluster
        .values(asked())
        .writeRange(requestOf(key), start, piece)
        .then(
          () => true,
          () => false,
        );
      if (isWritten) piece.copy(bytes, start);
    }
    if (random(2) === 0) cluster.heal();
    const finalize = (): Promise<unknown> => cluster.values(asked()).finalize(requestOf(key));
    await finalize().catch(async (error: CacheError) => {
      if (error.code !== "UNAVAILABLE" && error.code !== "NOT_FOUND") faults.push(`finalize ${key}: ${String(error)}`);
      cluster.heal();
      await finalize().catch((again: unknown) => faults.push(`finalize ${key}: ${String(again)}`));
    });
    cluster.heal();
    await cluster.advance(2_000);
    return bytes;
  };
  const put = async (name: string, key: string): Promise<void> => {
    const expected = expectedOf(key);
    const bytes = patterned(1 + random(3) * 40_000 + (version++ % 1_000), seed + version);
    const ttlSeconds = random(4) === 0 ? 1 + random(20) : 0;
    const putMs = clock.nowMs();
    const isDone = await cluster
      .values(name)
      .put({ ...requestOf(key), ttlSeconds, size: bytes.length }, random(2) === 0 ? bytes : inPieces(bytes))
      .then(
        () => true,
        () => false,
      );
    expected.allowed = isDone ? [bytes] : [...expected.allowed, bytes];
    expected.expiresMs = isDone && ttlSeconds > 0 ? putMs + ttlSeconds * 1_000 : 0;
  };
  /** A new list, of which some learn late: writes and reads by both lists. */
  const change = async (names: readonly string[]): Promise<void> => {
    cluster.setMembers(names, [...NAMES.filter(() => random(2) === 0), GUEST]);
    if (!cluster.isRunning(GUEST)) await cluster.start(GUEST);
    if (random(2) === 0) await cluster.advance(1_000);
    for (let left = random(4); left > 0; left--) {
      const key = KEYS[random(KEYS.length)]!;
      await put(asked(), key);
      for (const each of cluster.names) await check(each, key);
    }
    for (const key of KEYS) for (const each of cluster.names) await check(each, key);
    cluster.setMembers(names);
    await cluster.advance(6_000);
  };
  for (let step = 0; step < STEPS && faults.length === 0; step++) {
    const key = KEYS[random(KEYS.length)]!;
    const name = asked();
    const expected = expectedOf(key);
    switch (random(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        await put(name, key);
        break;
      case 4: {
        const isDone = await cluster
          .values(name)
          .delete(requestOf(key))
          .then(
            () => true,
            () => false,
          );
        expected.allowed = isDone ? [undefined] : [...expected.allowed, undefined];
        if (isDone) expected.expiresMs = 0;
        break;
      }
      case 5:
        await cluster.advance(250 * (1 + random(8)));
        break;
      case 6: {
        if (away !== undefined) {
          if (away.how === "dead") await failFurther(away.name);
          // All come back, and the copies are completed.
          if (!cluster.isRunning(away.name)) await cluster.start(away.name);
          cluster.heal();
          away = undefined;
          // A read copies what a member lacks. Without reads, only the repair does.
          if (random(2) === 0) for (const each of KEYS) await check(asked(), each);
          await cluster.advance(5_000);
          break;
        }
        const lost = NAMES[random(NAMES.length)]!;
        const how = (["killed", "destroyed", "cut"] as const)[random(3)]!;
        await cluster.advance(3_000);
        if (how === "killed") cluster.kill(lost);
        else if (how === "destroyed") cluster.destroy(lost);
        else for (const other of NAMES) if (other !== lost) cluster.cut(lost, other);
        // A member that is cut off finds that out within 2 s. Until then it may answer with older values.
        if (how === "cut") await cluster.advance(3_000);
        away = { name: lost, how: how === "cut" ? "cut" : "dead" };
        break;
      }
      case 7:
        if (away !== undefined) break;
        try {
          [expected.allowed, expected.expiresMs] = [[await upload(key)], 0];
        } catch (error) {
          faults.push(`upload ${key}: ${String(error)}`);
        }
        for (const each of cluster.names) await check(each, key);
        break;
      case 8:
        if (away !== undefined) break;
        await change([...NAMES, GUEST]);
        await change(NAMES);
        cluster.destroy(GUEST);
        break;
      default:
        await check(name, key);
    }
  }
  if (away?.how === "dead") await cluster.start(away.name);
  cluster.heal();
  await cluster.advance(5_000);
  for (const key of KEYS) for (const name of cluster.names) await check(name, key);
  // Nobody reads while one disk after the other is lost: only the repair keeps the values.
  for (const name of NAMES) {
    cluster.destroy(name);
    await cluster.advance(3_000);
    await cluster.start(name);
    await cluster.advance(3_000);
  }
  for (const key of KEYS) for (const name of cluster.names) await check(name, key);
  await cluster.close();
  return faults.map((fault) => `seed ${seed}: ${fault}`);
}

/** A body that arrives in pieces. */
async function* inPieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 16_384) yield bytes.subarray(at, at + 16_384);
}
