import { status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CacheClient } from "./cache-client.js";
import type { ReadOptions } from "./options.js";
import { ramp } from "./testing/ramp.js";
import { ScriptedMember, sendRamp } from "./testing/scripted-member.js";

const url = "s3://bucket/file";

/** One member whose object may be overwritten. */
let size: number;
let version: string;
let requests: string[];
/** Called with each request before it is answered. */
let onRequest: (request: string) => void;
let member: ScriptedMember;
let client: CacheClient;

beforeEach(async () => {
  size = 10_000;
  version = "v1";
  requests = [];
  onRequest = (request) => void requests.push(request);
  member = await ScriptedMember.start({
    readRange(call) {
      const { offset, length, version: requested } = call.request;
      onRequest(`${offset}+${length} ${requested}`);
      if (requested === version || requested === "") sendRamp(call, size, version);
      else call.emit("error", { code: status.FAILED_PRECONDITION, details: "another version" });
    },
    stat(call, callback) {
      onRequest(`stat ${call.request.version}`);
      callback(null, { version, objectSize: size, contentType: "", lastModifiedMs: 0, cachedBytes: 0, headers: [], lacks: "" });
    },
  });
  client = await CacheClient.connect({ endpoint: member.address, transport: "grpc" });
});

afterEach(async () => {
  await client.close();
  await member.kill();
});

describe("a whole object", () => {
  it("is read in one version", async () => {
    expect(await client.readObject(url)).toEqual(ramp(0, size));
    expect(requests).toEqual(["stat ", "0+10000 v1"]);
    const into = Buffer.alloc(size + 1);
    expect((await client.read({ url, into })).buffer).toBe(into.buffer);
    expect(into.subarray(0, size)).toEqual(ramp(0, size));
    await expect(client.readObject(url, "", { into: Buffer.alloc(3) })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("may be empty", async () => {
    size = 0;
    expect(await client.readObject(url)).toEqual(Buffer.alloc(0));
    expect(requests).toEqual(["stat "]);
  });

  it("is looked up once more if it is overwritten meanwhile, unless the caller named the version", async () => {
    onRequest = (request) => {
      requests.push(request);
      if (request === "0+10000 v1") version = "v2";
    };
    expect(await client.readObject(url)).toEqual(ramp(0, size));
    expect(requests).toEqual(["stat ", "0+10000 v1", "stat ", "0+10000 v2"]);
    await expect(client.readObject(url, "v1")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });
});

describe("a suffix", () => {
  it.each([
    [-8, 8, 9_992, 8],
    [-8, 3, 9_992, 3],
    [-8, 100, 9_992, 8],
    [-20_000, 15_000, 0, 5_000],
  ])("of offset %i and length %i are the bytes from %i on, %i of them", async (offset, length, from, count) => {
    expect(await client.readRange(url, offset, length)).toEqual(ramp(from, count));
    expect(await client.read({ url, range: [offset, length], version })).toEqual(ramp(from, count));
  });

  it("is empty if it ends before the object begins, and invalid with a fraction or a negative length", async () => {
    expect(await client.readRange(url, -20_000, 5)).toEqual(Buffer.alloc(0));
    await expect(client.readRange(url, -1.5, 1)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(client.readRange(url, -8, -1)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("several ranges", () => {
  it("that overlap or are near each other share a request, and come in the order of the call", async () => {
    size = 200_000;
    const ranges = [
      [150_000, 10],
      [0, 100],
      [50, 100],
      [20_000, 5],
      [-1, 1],
      [7, 0],
    ] as const;
    const results = await client.readRanges(url, ranges);
    expect(results).toEqual([ramp(150_000, 10), ramp(0, 100), ramp(50, 100), ramp(20_000, 5), ramp(199_999, 1), Buffer.alloc(0)]);
    expect(requests.sort()).toEqual(["0+20005 v1", "150000+10 v1", "199999+1 v1", "stat "]);
  });

  it("of none need no request, and fail as a whole if one begins past the end", async () => {
    expect(await client.readRanges(url, [])).toEqual([]);
    expect(requests).toEqual([]);
    await expect(
      client.readRanges(url, [
        [0, 1],
        [10_000, 1],
      ]),
    ).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    await expect(
      client.readRanges(url, [
        [0, 1],
        [0, -1],
      ]),
    ).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("are aborted together", async () => {
    const caller = new AbortController();
    const reading = client.readRanges(
      url,
      [
        [0, 1],
        [9_000, 1],
      ],
      "",
      { signal: caller.signal },
    );
    caller.abort();
    await expect(reading).rejects.toMatchObject({ code: "CANCELLED" });
  });
});

describe("an opened object", () => {
  it("is a file for hyparquet and Apache Arrow, of one version", async () => {
    const file = await client.open(url);
    expect([file.byteLength, file.version, await file.stat()]).toEqual([size, "v1", { size }]);
    expect(Buffer.from(await file.slice(9_990))).toEqual(ramp(9_990, 10));
    expect(Buffer.from(await file.slice(-8, -4))).toEqual(ramp(9_992, 4));
    expect((await file.slice(5, 5)).byteLength).toBe(0);
    const buffer = Buffer.alloc(20);
    expect(await file.read(buffer, 5, 100, 9_995)).toEqual({ bytesRead: 5, buffer });
    expect(buffer.subarray(5, 10)).toEqual(ramp(9_995, 5));
    expect((await file.read(buffer, 0, 10, size)).bytesRead).toBe(0);
    version = "v2";
    await expect(file.slice(0, 10)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await file.close();
  });
});

describe("a stream of the web platform", () => {
  it("has the bytes, and aborts the reads when it is cancelled", async () => {
    const response = new Response(client.webStream(url, 10, 5_000));
    expect(Buffer.from(await response.arrayBuffer())).toEqual(ramp(10, 5_000));
    const reader = client.webStream(url).getReader();
    expect((await reader.read()).value?.length).toBeGreaterThan(0);
    await reader.cancel();
    const missing = client.webStream(url, 0, undefined, "v7").getReader();
    await expect(missing.read()).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });
});

describe("the arguments of a call", () => {
  it("accept a version in the quotes of an entity tag", async () => {
    for (const tag of ['"v1"', "v1"]) {
      expect(await client.readRange(url, 0, 5, tag)).toEqual(ramp(0, 5));
      expect(await client.readRange(url, -5, 5, tag)).toEqual(ramp(9_995, 5));
      expect(Buffer.concat(await client.stream(url, 0, 5, tag).toArray())).toEqual(ramp(0, 5));
    }
    expect(requests.filter((request) => request.includes('"'))).toEqual([]);
  });

  it("refuse an option that nobody knows", async () => {
    const options = { deadLineMs: 5 } as ReadOptions;
    const message = 'the option "deadLineMs" is unknown: use signal, deadlineMs, into';
    await expect(client.readRange(url, 0, 5, "", options)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message });
    await expect(client.readObject(url, "", options)).rejects.toThrow("is unknown");
    await expect(client.readRanges(url, [], "", options)).rejects.toThrow("is unknown");
    await expect(client.stat(url, "", options)).rejects.toThrow("is unknown");
    await expect(client.warm([url], options)).rejects.toThrow("is unknown");
    await expect(client.evict({ url }, options)).rejects.toThrow("is unknown");
    expect(() => client.stream(url, 0, 5, "", options)).toThrow("is unknown");
    await expect(CacheClient.connect({ endpoint: "a:1", timeout: 5 } as never)).rejects.toThrow('"timeout" is unknown');
    expect(
      await client.readRange(url, 0, 5, undefined, { signal: undefined, deadlineMs: undefined, into: undefined }),
    ).toHaveLength(5);
  });
});
