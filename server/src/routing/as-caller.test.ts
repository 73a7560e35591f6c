import { CacheError, parseObjectUrl } from "@frontcache/proto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AnswerTo, Origin, OriginQuestion, OriginRequest, WriteRequest } from "../origin/origin.js";
import { type AccessesByName, originAccesses } from "../security/origin-access.js";
import { ANONYMOUS, clientPrincipal, type Principal } from "../security/principal.js";
import { restOf } from "../testing/cache-fixture.js";
import { buildTestMember } from "../testing/member-fixture.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { openStore, testGeometry } from "../testing/store-fixture.js";

const url = "s3://lake/key";
const ref = parseObjectUrl(url);
const people = [clientPrincipal("ada", "signature"), clientPrincipal("bob", "token"), ANONYMOUS] as const;
const signal = new AbortController().signal;

const accesses: AccessesByName = new Map(
  people.map(({ name: principal }) => [
    principal,
    [{ principal, buckets: [{ scheme: "s3", bucket: "*" }], credentials: { accessKeyId: principal, secretAccessKey: "secret" } }],
  ]),
);

/** A request that the origin answered, by whom it was signed. */
interface Asked {
  readonly by: string;
  readonly sentAtMs: number;
  /** Undefined: absence. */
  readonly version: string | undefined;
  readonly isAllowed: boolean;
}

/** A store with objects of one bucket, and rules of who may read them. */
class DecidingOrigin implements Origin {
  readonly asked: Asked[] = [];
  /** Who may read. The members' own credentials are called `frontcache`. */
  readonly allowed = new Set<string>();
  isDown = false;
  readonly #store: MemoryOrigin;
  readonly #objects: MemoryObjects;
  readonly #nowMs: () => number;

  constructor(store: MemoryOrigin, objects: MemoryObjects, nowMs: () => number) {
    this.#store = store;
    this.#objects = objects;
    this.#nowMs = nowMs;
  }

  async fetch(request: OriginRequest) {
    this.#decide(request.principal);
    return this.#store.fetch(request);
  }

  async ask<Q extends OriginQuestion>(question: Q): Promise<AnswerTo<Q>> {
    this.#decide(question.principal);
    return this.#store.ask(question);
  }

  async write(request: WriteRequest) {
    return this.#store.write(request);
  }

  close(): void {}

  by(name: string): Asked[] {
    return this.asked.filter(({ by }) => by === name);
  }

  #decide({ name: by }: Principal): void {
    if (this.isDown) throw new CacheError("UNAVAILABLE", "the origin is down");
    const isAllowed = this.allowed.has(by);
    this.asked.push({ by, sentAtMs: this.#nowMs(), version: this.#objects.get(url)?.info.version, isAllowed });
    if (!isAllowed) throw new CacheError("PERMISSION_DENIED", "the origin denies access");
  }
}

async function fixture(verdictTtlMs: number, revalidateAfterMs = 60_000) {
  const { store, clock } = await openStore();
  const objects = new MemoryObjects();
  const origin = new DecidingOrigin(new MemoryOrigin(objects, clock, 4 << 10), objects, () => clock.monotonicMs());
  const denied: string[] = [];
  const member = buildTestMember({
    store,
    clock,
    origin,
    geometry: testGeometry,
    settings: { revalidateAfterMs, negativeTtlMs: 1_000 },
    asCaller: {
      accesses: originAccesses(() => accesses),
      verdictTtlMs,
      onDenied: ({ name }) => void denied.push(name),
    },
  });
  const { cache } = member;
  const read = async (principal: Principal, version?: string) => {
    const range = { offset: 0, length: 4, forwarded: false, cachedOnly: false };
    const opened = await cache.open({ ref, version, ...range, principal, signal });
    return { version: opened.info.version, bytes: await restOf(opened) };
  };
  const stat = async (principal: Principal) => {
    const { info } = await cache.ask({ kind: "stat", ref, version: undefined, principal, signal });
    return { version: info.version };
  };
  const close = async () => {
    await member.close();
    await store.close();
  };
  return { clock, objects, origin, denied, member, read, stat, close };
}

describe("a principal with origin credentials of its own", () => {
  const [ada, bob] = people;

  it("reads what the origin allows it, also if the members may not read it", async () => {
    const { objects, origin, read, stat, close } = await fixture(60_000);
    const version = objects.put(url, "bytes");
    origin.allowed.add("ada");
    expect(await read(ada)).toEqual({ version, bytes: Buffer.from("byte") });
    expect(await stat(ada)).toEqual({ version });
    expect(origin.by("frontcache")).toEqual([]);
    await close();
  });

  it("is denied cached bytes that the origin denies it, and the denial is recorded", async () => {
    const { objects, origin, denied, read, stat, close } = await fixture(60_000);
    objects.put(url, "bytes");
    origin.allowed.add("ada");
    await read(ada);
    await expect(read(bob)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(stat(ANONYMOUS)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(denied).toEqual(["bob", "anonymous"]);
    await close();
  });

  it("shares the cached bytes, and asks one question for many reads while the decision is young", async () => {
    const { clock, objects, origin, read, close } = await fixture(60_000, Number.POSITIVE_INFINITY);
    objects.put(url, "bytes");
    origin.allowed.add("ada").add("bob");
    await read(ada);
    const before = origin.asked.length;
    await Promise.all(Array.from({ length: 20 }, () => read(bob)));
    for (let times = 0; times < 20; times++) await read(bob);
    expect(origin.asked.slice(before).map(({ by }) => by)).toEqual(["bob"]);
    clock.advance(60_000);
    await read(bob);
    expect(origin.by("bob").length).toBe(2);
    await close();
  });

  it("asks for each read with a time to live of 0, and never shares an answer", async () => {
    const { objects, origin, read, close } = await fixture(0);
    objects.put(url, "bytes");
    origin.allowed.add("ada");
    await read(ada);
    const before = origin.by("ada").length;
    await Promise.all([read(ada), read(ada), read(ada)]);
    expect(origin.by("ada").length - before).toBe(3);
    origin.allowed.delete("ada");
    await expect(read(ada)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await close();
  });

  it("gets nothing once the decision is too old and the origin cannot be asked", async () => {
    const { clock, objects, origin, read, close } = await fixture(1_000);
    objects.put(url, "bytes");
    origin.allowed.add("ada");
    await read(ada);
    origin.isDown = true;
    await read(ada);
    clock.advance(1_000);
    await expect(read(ada)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await close();
  });

  it("learns of a newer version that the origin shows it, and is not given the older one", async () => {
    const { clock, objects, origin, read, stat, close } = await fixture(1_000);
    const first = objects.put(url, "bytes");
    origin.allowed.add("ada").add("frontcache");
    await read(ada);
    const second = objects.put(url, "other bytes");
    clock.advance(1_000);
    expect((await stat(ada)).version).toBe(second);
    expect(await read(ada)).toEqual({ version: second, bytes: Buffer.from("othe") });
    await expect(read(ada, first)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    objects.delete(url);
    clock.advance(1_000);
    await expect(read(ada)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(read(ada, second)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await close();
  });

  it("is asked about again after the rules of its bucket were changed through this member", async () => {
    const { objects, origin, member, read, close } = await fixture(60_000);
    objects.put(url, "bytes");
    origin.allowed.add("ada");
    await read(ada);
    const bucket = { url: "s3://lake", scheme: "s3", bucket: "lake" } as const;
    const grants = [{ operation: "admin", ref: bucket }] as const;
    const change = {
      kind: "write",
      ref: bucket,
      method: "PUT",
      query: [["policy", ""]],
      headers: [],
      grants,
      changes: [],
    } as const;
    await member.cache.ask({ ...change, body: Buffer.alloc(0), mayRepeat: true, principal: ada, signal });
    origin.allowed.delete("ada");
    await expect(read(ada)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await close();
  });

  it("reads an empty object", async () => {
    const { objects, origin, stat, close } = await fixture(0);
    const version = objects.put(url, "");
    origin.allowed.add("ada");
    expect(await stat(ada)).toEqual({ version });
    await close();
  });

  const person = fc.constantFrom(...people);
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant("read" as const), who: person, times: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("stat" as const), who: person, times: fc.constant(1) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("policy" as const),
        name: fc.constantFrom("ada", "bob", "anonymous", "frontcache"),
        isAllowed: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("overwrite" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("delete" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, 400, 1_000, 60_000) }) },
  );

  it.each([0, 1_000])(
    "gets no byte without a decision of the origin that is younger than %i ms, whatever happens",
    async (ttlMs) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
          const { clock, objects, origin, read, stat, close } = await fixture(ttlMs, 1_000);
          objects.put(url, "bytes");
          for (const each of steps) {
            if (each.do === "policy") {
              if (each.isAllowed) origin.allowed.add(each.name);
              else origin.allowed.delete(each.name);
            } else if (each.do === "overwrite") objects.put(url, `bytes ${clock.monotonicMs()}`);
            else if (each.do === "delete") objects.delete(url);
            else if (each.do === "wait") clock.advance(each.ms);
            else {
              const { name } = each.who;
              const [beforeMs, askedBefore] = [clock.monotonicMs(), origin.asked.length];
              const requests = each.do === "stat" ? [stat(each.who)] : Array.from({ length: each.times }, () => read(each.who));
              for (const outcome of await Promise.allSettled(requests)) {
                const counted = origin.asked.filter(
                  ({ by, sentAtMs }, at) => by === name && (at >= askedBefore || beforeMs - sentAtMs < ttlMs),
                );
                if (outcome.status === "fulfilled") {
                  expect(counted).toContainEqual(expect.objectContaining({ version: outcome.value.version, isAllowed: true }));
                } else {
                  const { code } = CacheError.from(outcome.reason);
                  const isDenied = counted.some(({ isAllowed }) => !isAllowed);
                  const isAbsent = counted.some(({ version }) => version === undefined);
                  if (code === "PERMISSION_DENIED") expect(isDenied).toBe(true);
                  else expect([code, isAbsent]).toEqual(["NOT_FOUND", true]);
                }
              }
            }
          }
          await close();
        }),
        { numRuns: 100 },
      );
    },
  );
});
