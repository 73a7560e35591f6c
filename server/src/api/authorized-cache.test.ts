import { CacheError, parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import type { ObjectRead } from "../cache/object-read.js";
import { bucketPatterns } from "../config/bucket-pattern.js";
import type { Listing, ListPage, ListQuestion } from "../origin/origin.js";
import type { AnswerTo, Cache, Question, ReadRequest } from "../routing/cache.js";
import { Authorization } from "../security/grants/authorization.js";
import { parseIdentities } from "../security/identities/identities-file.js";
import { ANONYMOUS, clientPrincipal, memberPrincipal, type Principal } from "../security/principal.js";
import type { EvictSelector } from "../storage/storage-report.js";
import { MemoryCache } from "../testing/memory-cache.js";
import { authorized } from "./authorized-cache.js";

const requested = { principal: ANONYMOUS, signal: new AbortController().signal };
const denied = { code: "PERMISSION_DENIED" };

function fixture(allowed: string) {
  const memory = new MemoryCache();
  for (const url of ["s3://lake/k", "s3://lake-2/k", "s3://logs-1/k"]) memory.objects.set(url, Buffer.from("bytes"));
  const cache = authorized(new Authorization({ buckets: bucketPatterns.parse(allowed), grants: () => undefined }))(memory);
  const read = (url: string, by: Partial<ReadRequest> = {}) => {
    const range = { offset: 0, length: 1, forwarded: false, cachedOnly: false };
    return cache.open({ ref: parseObjectUrl(url), ...range, ...requested, ...by });
  };
  const stat = (url: string) => cache.ask({ kind: "stat", ref: parseObjectUrl(url), version: undefined, ...requested });
  const evict = (selector: EvictSelector) => cache.ask({ kind: "evict", selector, forwarded: false, ...requested });
  return { memory, cache, read, stat, evict };
}

describe("allowed buckets", () => {
  it("can be read, and others cannot, cached or not, forwarded or not", async () => {
    const { memory, read } = fixture("s3://lake,s3://logs-*");
    (await read("s3://lake/k")).close();
    (await read("s3://logs-1/k")).close();
    memory.requests.length = 0;
    for (const url of ["s3://lake-2/k", "gs://lake/k", "s3://log/k"]) expect(() => read(url)).toThrow(/is not served here/);
    expect(() => read("s3://lake-2/k", { forwarded: true, cachedOnly: true })).toThrow(expect.objectContaining(denied));
    expect(memory.requests).toEqual([]);
  });

  it("are listed, and others are not; by their names if the origin refuses", async () => {
    const ref = { url: "s3://", scheme: "s3", bucket: "" } as const;
    const list = async ({ memory, cache }: ReturnType<typeof fixture>, names?: string[]) => {
      if (names === undefined) memory.beforeAnswer = () => Promise.reject(new CacheError("PERMISSION_DENIED", "no"));
      memory.bucketList = { buckets: (names ?? []).map((name) => ({ name })), owner: { id: "me" } };
      return cache.ask({ kind: "listBuckets", ref, ...requested });
    };
    const mixed = "s3://lake,s3://logs-*,gs://other";
    expect(await list(fixture(mixed), ["lake", "lake-2", "logs-1"])).toEqual({
      buckets: [{ name: "lake" }, { name: "logs-1" }],
      owner: { id: "me" },
    });
    expect((await list(fixture(mixed))).buckets).toEqual([{ name: "lake" }]);
    await expect(list(fixture("s3://logs-*"))).rejects.toMatchObject(denied);
  });

  it("can be queried, and others cannot", async () => {
    const { stat } = fixture("s3://lake");
    expect((await stat("s3://lake/k")).info.objectSize).toBe(5);
    await expect(stat("s3://lake-2/k")).rejects.toMatchObject(denied);
  });

  it("can be listed, and others cannot, and their existence is not revealed", async () => {
    const { memory, cache } = fixture("s3://lake");
    const page = { delimiter: "", maxKeys: 10 };
    const list = (url: string) => cache.ask({ kind: "list", ref: parsePrefixUrl(url), page, ...requested });
    const statBucket = (url: string) => cache.ask({ kind: "statBucket", ref: parsePrefixUrl(url), ...requested });
    await list("s3://lake/a");
    await statBucket("s3://lake");
    await expect(list("s3://lake-2/a")).rejects.toMatchObject(denied);
    await expect(statBucket("s3://lake-2")).rejects.toMatchObject(denied);
    expect(memory.lists).toHaveLength(1);
  });

  it("can be evicted from, and a prefix that includes other buckets is rejected", async () => {
    const { memory, evict } = fixture("s3://lake,s3://logs-*");
    await evict({ url: "s3://lake/k" });
    await evict({ prefix: "s3://lake/" });
    await evict({ prefix: "s3://logs-" });
    expect(memory.evictions).toHaveLength(3);
    for (const prefix of ["s3://", "s3://lake", "s3://log", "gs://"])
      await expect(evict({ prefix })).rejects.toMatchObject(denied);
    await expect(evict({ url: "s3://lake-2/k" })).rejects.toMatchObject(denied);
    expect(memory.evictions).toHaveLength(3);
  });

  it("are named in the error for other buckets, at bounded length", async () => {
    const { evict } = fixture("s3://lake");
    const short = { message: expect.stringMatching(/^s3:\/\/lake-2\/k: access denied: the bucket is not served here: ask for /) };
    await expect(evict({ prefix: "s3://lake-2/k" })).rejects.toMatchObject(short);
    for (const prefix of [`s3://${"b".repeat(100_000)}`, `s3://lake-2/${"k".repeat(100_000)}`]) {
      const error: Error = await evict({ prefix }).then(
        () => expect.unreachable(),
        (thrown) => thrown,
      );
      expect(error.message).toMatch(/\.\.\..* is not served here: ask for /);
      expect(error.message.length).toBeLessThan(2_800);
    }
  });

  it("are all buckets by default", () => {
    const memory = new MemoryCache();
    expect(authorized(new Authorization({ buckets: undefined, grants: () => undefined }))(memory)).toBe(memory);
  });

  it("can be warmed, and others cannot, by name, by prefix or by block", async () => {
    const { memory, cache } = fixture("s3://lake");
    const warm = (url: string, prefix: string) => {
      const objects = { objects: [{ ref: parseObjectUrl(url) }], prefixes: [parsePrefixUrl(prefix)] };
      return cache.ask({ kind: "warm", ...objects, concurrency: 1, dryRun: false, report: async () => {}, ...requested });
    };
    await warm("s3://lake/k", "s3://lake/");
    await expect(warm("s3://other/k", "s3://lake/")).rejects.toMatchObject(denied);
    await expect(warm("s3://lake/k", "s3://other/")).rejects.toMatchObject(denied);
    const block = { version: undefined, blockOffset: 0, objectSize: undefined, dryRun: false, ...requested };
    await expect(cache.ask({ kind: "warmBlock", ref: parseObjectUrl("s3://other/k"), ...block })).rejects.toMatchObject(denied);
    expect([memory.warmings.length, memory.warmedBlocks.length]).toEqual([1, 0]);
  });

  it("can be touched, and blocks of others cannot", async () => {
    const { memory, cache } = fixture("s3://lake");
    const blocks = ["s3://lake/k", "s3://lake-2/k"].map((url) => ({ url, version: "v1", offset: 0 }));
    expect(await cache.ask({ kind: "touch", blocks, ...requested })).toBe(1);
    expect(memory.touched).toEqual([blocks[0]]);
  });
});

/** A cache of two buckets for principals with grants. It lists as an origin does, with tokens that name the last key. */
function granted(grants: string) {
  const memory = new MemoryCache();
  const keys = ["a/1", "a/2", "b/c/1", "b/c/2", "b/d", "c", "team/x/1", "team/y/1"];
  const asked: ListQuestion[] = [];
  const listing = ({ ref, page }: ListQuestion): Listing => {
    const from = [page.token, page.startAfter].filter((each) => each !== undefined);
    const matching = keys.filter((key) => key.startsWith(ref.prefix) && from.every((each) => key > each));
    const shown = matching.slice(0, page.maxKeys);
    const isFolder = (key: string): boolean => page.delimiter !== "" && key.includes(page.delimiter, ref.prefix.length);
    const folderOf = (key: string): string => key.slice(0, key.indexOf(page.delimiter, ref.prefix.length) + 1);
    const nextToken = shown.length < matching.length ? { nextToken: shown.at(-1)! } : {};
    return {
      objects: shown.filter((key) => !isFolder(key)).map((key) => ({ key, version: "v1", objectSize: 1, lastModifiedMs: 0 })),
      prefixes: [...new Set(shown.filter(isFolder).map(folderOf))],
      ...nextToken,
    };
  };
  const next: Cache = {
    open: (request) => memory.open(request),
    async ask<Q extends Question>(question: Q): Promise<AnswerTo<Q>> {
      if (question.kind !== "list") return memory.ask(question);
      asked.push(question);
      return listing(question) as AnswerTo<Q>;
    },
  };
  const file = parseIdentities(`grants:\n${grants}`);
  const cache = authorized(new Authorization({ buckets: undefined, grants: () => file.grants }))(next);
  const principal = clientPrincipal("ada", "token");
  const signal = new AbortController().signal;
  /** All names of a listing, page by page. */
  const names = async (url: string, page: Partial<ListPage> = {}): Promise<string[][]> => {
    const pages: string[][] = [];
    let token: string | undefined;
    do {
      const question = { kind: "list", ref: parsePrefixUrl(url), principal, signal } as const;
      const paged = { delimiter: "", maxKeys: 10, ...page, ...(token !== undefined && { token }) };
      const { objects, prefixes, nextToken } = await cache.ask({ ...question, page: paged });
      pages.push([...prefixes, ...objects.map(({ key }) => key)]);
      token = nextToken;
    } while (token !== undefined);
    return pages;
  };
  return { memory, cache, asked, names, principal, signal };
}

describe("a listing by a principal with grants", () => {
  const two = "  - { to: ada, operations: list, buckets: s3://lake, prefixes: [team/, b/c/, b/c/2] }";

  it("is the origin's own if a grant covers its prefix", async () => {
    const { names, asked } = granted(two);
    expect(await names("s3://lake/b/c/")).toEqual([["b/c/1", "b/c/2"]]);
    expect(await names("s3://lake/team/", { delimiter: "/" })).toEqual([["team/x/", "team/y/"]]);
    expect(asked.map(({ ref }) => ref.prefix)).toEqual(["b/c/", "team/"]);
  });

  it("has only the granted keys otherwise, range by range, and asks the origin for nothing else", async () => {
    const { names, asked } = granted(two);
    expect(await names("s3://lake/")).toEqual([
      ["b/c/1", "b/c/2"],
      ["team/x/1", "team/y/1"],
    ]);
    expect(await names("s3://lake/", { maxKeys: 1 })).toEqual([["b/c/1"], ["b/c/2"], ["team/x/1"], ["team/y/1"]]);
    expect(await names("s3://lake/b/")).toEqual([["b/c/1", "b/c/2"]]);
    expect(new Set(asked.map(({ ref }) => ref.prefix))).toEqual(new Set(["b/c/", "team/"]));
  });

  it("groups the granted keys into common prefixes", async () => {
    const { names } = granted(two);
    expect(await names("s3://lake/", { delimiter: "/" })).toEqual([["b/", "team/"]]);
    expect(await names("s3://lake/", { delimiter: "/", maxKeys: 1 })).toEqual([["b/"], ["team/"]]);
    expect(await names("s3://lake/b/", { delimiter: "/" })).toEqual([["b/c/"]]);
    expect(await names("s3://lake/tea", { delimiter: "/" })).toEqual([["team/"]]);
  });

  it("begins after a name in all ranges", async () => {
    const { names } = granted(two);
    expect((await names("s3://lake/", { startAfter: "b/c/1" })).flat()).toEqual(["b/c/2", "team/x/1", "team/y/1"]);
    expect((await names("s3://lake/", { startAfter: "team/x/1", maxKeys: 1 })).flat()).toEqual(["team/y/1"]);
    expect(await names("s3://lake/", { delimiter: "/", startAfter: "b/" })).toEqual([["team/"]]);
  });

  it("is denied if no key with the prefix is granted, and for tokens of other ranges", async () => {
    const { names, cache, principal, signal } = granted(two);
    for (const url of ["s3://lake/a/", "s3://other/", "s3://lake/b/d"]) {
      await expect(names(url)).rejects.toMatchObject({ code: "PERMISSION_DENIED", s3Code: "AccessDenied", operation: "list" });
    }
    for (const token of [
      "x",
      "a/1",
      Buffer.from('["a/",null,null]').toString("base64url"),
      Buffer.from('["b/c/",1,null]').toString("base64url"),
    ]) {
      const page = { delimiter: "", maxKeys: 10, token };
      const question = { kind: "list", ref: parsePrefixUrl("s3://lake/"), page, principal, signal } as const;
      await expect(cache.ask(question)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
  });

  it("of buckets has those in which it has a grant", async () => {
    const { memory, cache, principal, signal } = granted(two);
    memory.bucketList = { buckets: ["lake", "lake-2", "logs"].map((name) => ({ name })) };
    const question = { kind: "listBuckets", ref: { url: "s3://", scheme: "s3", bucket: "" }, principal, signal } as const;
    expect(await cache.ask(question)).toEqual({ buckets: [{ name: "lake" }] });
    memory.beforeAnswer = () => Promise.reject(new CacheError("PERMISSION_DENIED", "no"));
    expect(await cache.ask(question)).toEqual({ buckets: [{ name: "lake" }] });
  });
});

describe("members", () => {
  it("are exempt from grants, and everybody else is not by claiming to forward", () => {
    const { memory, cache, principal, signal } = granted("  []");
    memory.objects.set("s3://lake/k", Buffer.from("bytes"));
    const range = { offset: 0, length: 1, forwarded: true, cachedOnly: false, signal };
    const open = (by: Principal) => cache.open({ ref: parseObjectUrl("s3://lake/k"), ...range, principal: by });
    expect(() => open(principal)).toThrow(expect.objectContaining({ code: "PERMISSION_DENIED" }));
    expect(() => open(ANONYMOUS)).toThrow(expect.objectContaining({ code: "UNAUTHENTICATED", s3Code: "AccessDenied" }));
    (open(memberPrincipal("m2")) as ObjectRead).close();
  });
});
