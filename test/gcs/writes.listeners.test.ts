import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Bucket, Storage, type StorageOptions } from "@google-cloud/storage";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { GcsEmulator } from "../emulators/gcs.js";
import { rampBytes } from "../emulators/s3.js";
import type { HttpStack } from "../s3/http-stack.js";
import { type PlainAnswer, sendRequest } from "../s3/send-request.js";
import { openGcsStack } from "./gcs-stack.js";

let store: GcsEmulator;
let stack: HttpStack;
let base: string;
let bucket: Bucket;

beforeAll(async () => {
  store = await GcsEmulator.start();
  store.put("bucket", "other", "other");
  stack = await openGcsStack(store, { writes: true });
  base = `http://127.0.0.1:${stack.listener.address.port}`;
  bucket = storageOf().bucket("bucket");
});

afterAll(async () => {
  await stack[Symbol.asyncDispose]();
  await store.close();
});

beforeEach(() => store.faults.clear());

function storageOf(retryOptions: StorageOptions["retryOptions"] = { autoRetry: false }): Storage {
  return new Storage({
    apiEndpoint: base,
    projectId: "project",
    useAuthWithCustomEndpoint: false,
    retryOptions,
  });
}

const LARGE = rampBytes(0, 1_500_000, 11);

async function read(key: string): Promise<string> {
  return (await bucket.file(key).download())[0].toString("latin1");
}

/** What GCS has. */
function stored(key: string): string | undefined {
  const object = store.objects.get("bucket", key);
  return object && Buffer.concat([...object.chunks(0, object.size, 1 << 20)]).toString("latin1");
}

const send = (
  method: string,
  path: string,
  headers?: Readonly<Record<string, string>>,
  body: string | Buffer = "",
): Promise<PlainAnswer> => sendRequest(path.startsWith("http") ? path : `${base}${path}`, method, headers, [body]);

const UPLOAD = "/upload/storage/v1/b/bucket/o";
const crc32cOf = (text: string) => {
  store.put("scratch", "hash", text);
  return /crc32c=([^,]+)/.exec(store.objects.get("scratch", "hash")!.headers["x-goog-hash"]!)![1]!;
};

describe("Google's library, which writes by a member", () => {
  it.each([
    ["in one request", { resumable: false }],
    ["by a session", { resumable: true }],
  ])("uploads %s, with metadata, and reads each version back", async (_, options) => {
    const file = bucket.file(`dir/ü ${options.resumable}`);
    for (const text of ["first", "second", "third"]) {
      await file.save(text, { ...options, contentType: "text/plain", metadata: { metadata: { author: "ada" } } });
      expect(await read(file.name)).toBe(text);
    }
    const [metadata] = await file.getMetadata();
    expect(metadata).toMatchObject({ contentType: "text/plain", metadata: { author: "ada" }, size: "5" });
    expect(metadata.generation).toBe(store.objects.get("bucket", file.name)!.version);
  });

  it.each([
    ["in one request", { resumable: false }],
    ["by a session", { resumable: true }],
    ["by a session in chunks", { resumable: true, chunkSize: 512 << 10 }],
  ])("streams a large object %s", async (name, options) => {
    const file = bucket.file(`large ${name}`);
    const pieces = Array.from({ length: 15 }, (_, at) => LARGE.subarray(at * 100_000, (at + 1) * 100_000));
    await pipeline(Readable.from(pieces), file.createWriteStream(options));
    expect(await read(file.name)).toBe(LARGE.toString("latin1"));
  });

  it("deletes, copies, moves and puts objects together", async () => {
    await bucket.file("one").save("one,", { resumable: false });
    await bucket.file("two").save("two", { resumable: false });
    await bucket.file("one").copy(bucket.file("copy"));
    expect(await read("copy")).toBe("one,");
    await bucket.combine(["one", "two"], "both");
    expect(await read("both")).toBe("one,two");
    await bucket.file("both").moveFileAtomic("moved");
    expect(await read("moved")).toBe("one,two");
    await expect(read("both")).rejects.toMatchObject({ code: 404 });
    await bucket.file("moved").delete();
    await expect(read("moved")).rejects.toMatchObject({ code: 404 });
  });

  it("changes the metadata of an object whose bytes are cached", async () => {
    const file = bucket.file("described");
    await file.save("same", { resumable: false });
    expect(await read("described")).toBe("same");
    await file.setMetadata({ contentType: "text/x", metadata: { state: "new" } });
    const [metadata] = await file.getMetadata();
    expect(metadata).toMatchObject({ contentType: "text/x", metadata: { state: "new" }, metageneration: "2" });
    expect(await read("described")).toBe("same");
  });

  it("gets the refusals of conditions", async () => {
    const file = bucket.file("conditional");
    await file.save("one", { resumable: false, preconditionOpts: { ifGenerationMatch: 0 } });
    for (const resumable of [false, true]) {
      const again = file.save("two", { resumable, preconditionOpts: { ifGenerationMatch: 0 } });
      await expect(again).rejects.toMatchObject({ code: 412 });
    }
    const [{ generation }] = await file.getMetadata();
    await file.save("three", { resumable: false, preconditionOpts: { ifGenerationMatch: Number(generation) } });
    expect(await read("conditional")).toBe("three");
    await expect(file.delete({ ifGenerationMatch: 7 })).rejects.toMatchObject({ code: 412 });
    expect(await read("conditional")).toBe("three");
  });

  it("resumes a session whose connection to GCS was lost", async () => {
    const file = storageOf({ autoRetry: true, maxRetryDelay: 1 }).bucket("bucket").file("resumed");
    store.faults.place({ resetInBody: 600_000, times: 1, when: ({ method }) => method === "PUT" });
    const options = { resumable: true, chunkSize: 1 << 20, preconditionOpts: { ifGenerationMatch: 0 } };
    await pipeline(Readable.from([LARGE]), file.createWriteStream(options));
    expect(await read("resumed")).toBe(LARGE.toString("latin1"));
  });
});

describe("an upload session", () => {
  const begin = async (name: string) => {
    const { status, headers } = await send("POST", `${UPLOAD}?uploadType=resumable&name=${name}`);
    expect(status).toBe(200);
    return headers.location!;
  };

  it("has an address at the endpoint of the member, and says how much has arrived", async () => {
    const session = await begin("session");
    expect(session.startsWith(`${base}${UPLOAD}?`)).toBe(true);
    const chunk = LARGE.subarray(0, 256 << 10);
    const question = { "content-range": "bytes */*", "content-length": "0" };
    expect(await send("PUT", session, question)).toMatchObject({ status: 308 });
    const first = await send("PUT", session, { "content-range": `bytes 0-${chunk.length - 1}/*` }, chunk);
    expect([first.status, first.headers.range]).toEqual([308, "bytes=0-262143"]);
    const asked = await send("PUT", session, question);
    expect([asked.status, asked.headers.range]).toEqual([308, "bytes=0-262143"]);
    expect(stored("session")).toBeUndefined();
    const last = await send("PUT", session, { "content-range": "bytes 262144-262147/262148" }, "tail");
    expect([last.status, JSON.parse(last.body).size]).toEqual([200, "262148"]);
    expect(await read("session")).toBe(`${chunk.toString("latin1")}tail`);
    expect((await send("PUT", session, question)).status).toBe(200);
  });

  it("answers clients that do not take status 308 as GCS does", async () => {
    const session = await begin("old");
    const headers = { "content-range": "bytes */*", "content-length": "0", "x-guploader-no-308": "yes" };
    const { status, headers: answered } = await send("PUT", session, headers);
    expect([status, answered["x-http-status-code-override"]]).toEqual([200, "308"]);
  });

  it("names its object, if only the metadata did", async () => {
    const { headers } = await send(
      "POST",
      `${UPLOAD}?uploadType=resumable`,
      { "content-type": "application/json" },
      JSON.stringify({ name: "named/in metadata" }),
    );
    expect((await send("PUT", headers.location!, {}, "content")).status).toBe(200);
    expect(await read("named/in metadata")).toBe("content");
  });

  it("is ended by a DELETE", async () => {
    const session = await begin("cancelled");
    expect((await send("DELETE", session)).status).toBe(499);
    expect((await send("PUT", session, { "content-range": "bytes 0-2/3" }, "abc")).status).toBe(404);
    expect(stored("cancelled")).toBeUndefined();
  });

  it("whose address names another object leaves no stale object behind", async () => {
    await bucket.file("actual").save("old", { resumable: false });
    expect(await read("actual")).toBe("old");
    const session = (await begin("actual")).replace("name=actual", "name=other");
    expect((await send("PUT", session, {}, "new")).status).toBe(200);
    expect(await read("actual")).toBe("new");
  });

  it.each(["bytes 5-3/10", "bytes 0-9/5", "bytes 0-2", "items 0-2/3", "bytes -/3"])("refuses %s", async (range) => {
    expect((await send("PUT", await begin("range"), { "content-range": range }, "abc")).status).toBe(400);
  });
});

describe("a damaged upload", () => {
  const related = (metadata: object, content: string, end = "\r\n--b--") =>
    `--b\r\nContent-Type: application/json\r\n\r\n${JSON.stringify(metadata)}\r\n--b\r\nContent-Type: text/plain\r\n\r\n${content}${end}`;
  const RELATED = { "content-type": "multipart/related; boundary=b" };

  it.each([
    ["a hash in a header", "media&name=damaged", { "x-goog-hash": "crc32c=AAAAAA==" }, "content"],
    ["a hash of another algorithm", "media&name=damaged", { "x-goog-hash": "sha1=AAAA" }, "content"],
    ["Content-MD5", "media&name=damaged", { "content-md5": createHash("md5").update("x").digest("base64") }, "content"],
    ["crc32c in the metadata", "multipart", RELATED, related({ name: "damaged", crc32c: "AAAAAA==" }, "content")],
    ["md5Hash in the metadata", "multipart", RELATED, related({ name: "damaged", md5Hash: "AAAA" }, "content")],
    ["no last boundary", "multipart", RELATED, related({ name: "damaged" }, "content", "")],
    ["a third part", "multipart", RELATED, related({ name: "damaged" }, "content", "\r\n--b\r\n\r\nmore\r\n--b--")],
    ["one part", "multipart", RELATED, "--b\r\n\r\n{}\r\n--b--"],
    ["another boundary", "multipart", { "content-type": "multipart/related; boundary=c" }, related({ name: "damaged" }, "x")],
    ["a form", "multipart", { "content-type": "multipart/form-data; boundary=b" }, related({ name: "damaged" }, "x")],
    ["no name", "multipart", RELATED, related({}, "content")],
    ["an unknown type of upload", "other&name=damaged", {}, "content"],
    ["an unknown parameter", "media&name=damaged&color=red", {}, "content"],
    ["an unknown header", "media&name=damaged", { "x-goog-color": "red" }, "content"],
    ["metadata that never end", "multipart", RELATED, `--b\r\n\r\n${" ".repeat(100_000)}`],
  ])("%s is refused, and nothing is written", async (_, parameters, headers, body) => {
    const before = store.writes.requests.length;
    const { status, body: answer } = await send("POST", `${UPLOAD}?uploadType=${parameters}`, headers, body);
    expect([status, JSON.parse(answer).error.code]).toEqual([400, 400]);
    expect(stored("damaged")).toBeUndefined();
    expect(store.writes.requests.length).toBe(before);
  });

  it("that is streamed never reaches its end at GCS", async () => {
    await bucket.file("streamed").save("before", { resumable: false });
    const headers = { "x-goog-hash": "crc32c=AAAAAA==", "transfer-encoding": "chunked" };
    const { status } = await send("POST", `${UPLOAD}?uploadType=media&name=streamed`, headers, LARGE);
    expect(status).toBe(400);
    expect(stored("streamed")).toBe("before");
    expect(await read("streamed")).toBe("before");
  });

  it("with right hashes is written", async () => {
    const text = "content";
    const body = related({ name: "intact", crc32c: crc32cOf(text) }, text);
    expect((await send("POST", `${UPLOAD}?uploadType=multipart`, RELATED, body)).status).toBe(200);
    expect(await read("intact")).toBe(text);
  });
});

describe("a write of GCS's JSON API", () => {
  it("whose answer is lost has an unknown outcome, and each read gets what GCS has", async () => {
    await bucket.file("lost").save("before", { resumable: false });
    expect(await read("lost")).toBe("before");
    store.faults.place({ lostAnswer: true, times: 1, when: ({ method }) => method === "POST" });
    const { status, headers } = await send("POST", `${UPLOAD}?uploadType=media&name=lost`, {}, "after");
    expect([status, headers["frontcache-outcome"]]).toEqual([500, "unknown"]);
    expect(await read("lost")).toBe("after");
    store.put("bucket", "lost", "later");
    expect(await read("lost")).toBe("later");
  });

  it("is cached, so that the next read asks GCS for nothing", async () => {
    const text = "x".repeat(300_000);
    await send("POST", `${UPLOAD}?uploadType=media&name=warm`, {}, text);
    const before = store.traffic.gets.length;
    expect((await send("GET", "/storage/v1/b/bucket/o/warm?alt=media", { "accept-encoding": "gzip" })).body).toBe(text);
    expect(store.traffic.gets.length).toBe(before);
  });

  it.each([
    ["POST", "/storage/v1/b?project=p"],
    ["PATCH", "/storage/v1/b/bucket"],
    ["DELETE", "/storage/v1/b/bucket"],
    ["POST", "/storage/v1/b/bucket/o/other/acl"],
    ["PUT", "/storage/v1/b/bucket/iam"],
    ["POST", "/batch/storage/v1"],
    ["POST", "/storage/v1/b/bucket/o/other/restore"],
  ])("%s %s is refused by name", async (method, path) => {
    const before = store.writes.requests.length;
    const { status, body } = await send(method, path);
    expect([status, JSON.parse(body).error.errors[0].reason]).toEqual([501, "notImplemented"]);
    expect(store.writes.requests.length).toBe(before);
  });

  it("has no links that lead past the member", async () => {
    const { body } = await send("POST", `${UPLOAD}?uploadType=media&name=linked`, {}, "x");
    expect(JSON.parse(body)).toMatchObject({ name: "linked", bucket: "bucket" });
    expect(body).not.toContain("mediaLink");
  });
});
