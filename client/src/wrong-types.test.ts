import { CacheError } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { type CacheClient, clientOver } from "./cache-client.js";
import type { MemberConnections } from "./members/ports.js";
import { type ConnectOptions, completeOptions } from "./options.js";
import { FakeTransport } from "./testing/fake-transport.js";
import { noObjectRequests } from "./testing/no-object-requests.js";

const url = "s3://bucket/file";

/** Values of each option of `connect` that have a wrong type. */
const WRONG_CONNECT_OPTIONS: { readonly [Name in keyof Required<ConnectOptions>]: readonly unknown[] } = {
  endpoint: [7, null, {}, [], [7], true],
  transport: [7, null, {}, "", "HTTP"],
  deadlineMs: ["30", null, {}, true, 1.5],
  parallelBlocks: ["8", null, {}, true, 0],
  streamBlocks: ["6", null, {}, true, 0],
  connectTimeoutMs: ["1000", null, {}, true, -1],
  attempts: ["6", null, {}, true, 0],
  localVolumes: ["/cache", 7, null, {}, [7], [""]],
  near: ["256MiB", 7, null, [], true, { memory: true }, { disk: 7 }, { memory: null }],
  fallback: ["s3", 7, null, true, { s3: 7 }, { gcs: "x" }, { s3: null }],
  lazy: ["yes", 1, null, {}],
  log: ["stdout", 1, null, {}],
  tls: ["ca.pem", 7, null, true, { ca: 7 }, { ca: {} }, { cert: 7, key: 7 }, { serverName: 7 }, { unknown: 1 }],
  token: [7, null, {}, true, "two words"],
  tokenFile: [7, null, {}, true, ""],
  accessKey: [
    "id",
    7,
    null,
    true,
    {},
    { accessKeyId: 7, secretAccessKey: "s" },
    { accessKeyId: "abc", secretAccessKey: "s", sessionToken: 7 },
  ],
  signal: ["now", 7, null, {}, true],
};

type Call = (client: CacheClient, wrong: never) => unknown;

/** Arguments and options of calls, with values of a wrong type. */
const WRONG_CALLS: Readonly<Record<string, readonly [call: Call, values: readonly unknown[]]>> = {
  "url of readRange": [(client, wrong) => client.readRange(wrong, 0, 1), [7, null, undefined, {}, "", "file", "http://x/y"]],
  "offset of readRange": [(client, wrong) => client.readRange(url, wrong, 1), ["0", null, {}, Number.NaN, 1.5]],
  "length of readRange": [(client, wrong) => client.readRange(url, 0, wrong), ["1", null, {}, Number.NaN, 1.5, -1]],
  "version of readRange": [(client, wrong) => client.readRange(url, 0, 1, wrong), [7, null, {}, true]],
  "options of readRange": [(client, wrong) => client.readRange(url, 0, 1, "", wrong), [7, null, "now", true, { timeout: 5 }]],
  "into of readRange": [
    (client, wrong) => client.readRange(url, 0, 1, "", { into: wrong }),
    [7, null, "x", {}, [1], Buffer.alloc(0), new ArrayBuffer(8)],
  ],
  "signal of readRange": [(client, wrong) => client.readRange(url, 0, 1, "", { signal: wrong }), [7, null, "x", {}]],
  "deadlineMs of readRange": [(client, wrong) => client.readRange(url, 0, 1, "", { deadlineMs: wrong }), ["5", {}, true, 0]],
  "the request of read": [(client, wrong) => client.read(wrong), [7, null, undefined, "x", {}]],
  "range of read": [(client, wrong) => client.read({ url, range: wrong }), [7, "x", {}, [], [1], ["a", "b"]]],
  "version of readObject": [(client, wrong) => client.readObject(url, wrong), [7, null, {}]],
  "ranges of readRanges": [
    (client, wrong) => client.readRanges(url, wrong),
    [7, null, undefined, "x", {}, [7], [null], [[1]], [["0", 1]]],
  ],
  "signal of stat": [(client, wrong) => client.stat(url, "", { signal: wrong }), [7, null, "x", {}]],
  "version of stat": [(client, wrong) => client.stat(url, wrong), [7, null, {}]],
  "url of stream": [(client, wrong) => client.stream(wrong), [7, null, undefined, ""]],
  "version of stream": [(client, wrong) => client.stream(url, 0, 1, wrong), [7, null, {}]],
  "reuse of stream": [(client, wrong) => client.stream(url, 0, 1, "", { reuse: wrong }), [7, null, "yes", {}]],
  "the selector of evict": [
    (client, wrong) => client.evict(wrong),
    [7, null, undefined, "x", {}, { url: 7 }, { prefix: 7 }, { url, version: 7 }],
  ],
  "targets of warm": [(client, wrong) => client.warm(wrong), [7, null, undefined, {}, [7], [null], [{}], [{ prefix: 7 }]]],
  "concurrency of warm": [(client, wrong) => client.warm([url], { concurrency: wrong }), ["16", null, {}, 0]],
  "onProgress of warm": [(client, wrong) => client.warm([url], { onProgress: wrong }), [7, null, "x", {}]],
  "dryRun of warm": [(client, wrong) => client.warm([url], { dryRun: wrong }), [7, null, "x", {}]],
  "version of warm": [(client, wrong) => client.warm([url], { version: wrong }), [7, null, {}]],
  "url of put": [(client, wrong) => client.put(wrong, "x"), [7, null, undefined, ""]],
  "body of put": [(client, wrong) => client.put(url, wrong), [7, null, undefined, true, {}, { file: 7 }]],
  "contentType of put": [(client, wrong) => client.put(url, "x", { contentType: wrong }), [7, null, {}]],
  "url of delete": [(client, wrong) => client.delete(wrong), [7, null, undefined, ""]],
  "urls of deleteObjects": [(client, wrong) => client.deleteObjects(wrong), [7, null, undefined, {}, [7], [null]]],
  "source of copy": [(client, wrong) => client.copy(wrong, url), [7, null, undefined, ""]],
  "target of copy": [(client, wrong) => client.copy(url, wrong), [7, null, undefined, ""]],
  "url of list": [(client, wrong) => client.list(wrong).next(), [7, null, undefined, ""]],
  "delimiter of list": [(client, wrong) => client.list("s3://bucket/", { delimiter: wrong }).next(), [7, null, {}]],
};

const isClear = expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/^[^\n]{8,400}$/) });

describe("values of a wrong type are refused with INVALID_ARGUMENT in one line:", () => {
  it.each(Object.entries(WRONG_CONNECT_OPTIONS))("the option %s of connect", (name, values) => {
    for (const value of values) {
      const given = { endpoint: "a:1", [name]: value } as unknown as ConnectOptions;
      let thrown: unknown;
      try {
        completeOptions(given);
      } catch (error) {
        thrown = error;
      }
      expect(thrown, JSON.stringify(value)).toBeInstanceOf(CacheError);
      expect(thrown, JSON.stringify(value)).toEqual(isClear);
      // An option within another one is named itself.
      const [topic] = name.split(/(?=[A-Z])/);
      const isNested = typeof value === "object" && value !== null;
      if (!isNested) expect((thrown as CacheError).message, JSON.stringify(value)).toContain(topic);
    }
  });

  it.each(Object.entries(WRONG_CALLS))("%s", async (_name, [call, values]) => {
    const connections = new FakeTransport({ version: "v1", size: 100 }) as unknown as MemberConnections;
    const ports = { clock: new ManualClock(0), connections, requests: noObjectRequests };
    const client = await clientOver(completeOptions({ endpoint: "a:1" }), ports);
    for (const value of values) {
      const error = await (async () => call(client, value as never))().catch((thrown: unknown) => thrown);
      expect(error, JSON.stringify(value)).toBeInstanceOf(CacheError);
      expect(error, JSON.stringify(value)).toEqual(isClear);
    }
    await client.close();
  });
});
