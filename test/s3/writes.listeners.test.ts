import { createHash } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { Readable } from "node:stream";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { rampBytes } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { HttpStack } from "./http-stack.js";
import { readText, sdkClient } from "./sdk-client.js";
import { type PlainAnswer, sendRequest } from "./send-request.js";

let origin: S3Emulator;
let stack: HttpStack;
let client: S3Client;

beforeAll(async () => {
  origin = await S3Emulator.start();
  origin.put("bucket", "damaged", "before");
  stack = await HttpStack.open(origin.endpoint, { revalidateAfterMs: 60_000, writes: true });
  client = sdkClient(stack.endpoint, 1);
});

afterAll(async () => {
  client.destroy();
  await stack[Symbol.asyncDispose]();
  await origin.close();
});

const BUCKET = { Bucket: "bucket" };

const read = (key: string) => readText(client, "bucket", key);

const send = (
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  pieces?: readonly (string | Buffer)[],
): Promise<PlainAnswer> => sendRequest(`${stack.endpoint}${path}`, method, headers, pieces);

const unsigned = (length: number) => ({ "content-length": String(length), "x-amz-content-sha256": "UNSIGNED-PAYLOAD" });
const md5 = (bytes: string | Buffer) => createHash("md5").update(bytes).digest("base64");

describe("a write through the S3 endpoint", () => {
  it("is read back with its metadata, and by the next read without a further request of bytes", async () => {
    const Metadata = { author: "ada" };
    const put = await client.send(
      new PutObjectCommand({ ...BUCKET, Key: "a/b c+d", Body: "hello", ContentType: "text/plain", Metadata }),
    );
    expect(put.ETag).toBe(`"${createHash("md5").update("hello").digest("hex")}"`);
    expect(await read("a/b c+d")).toBe("hello");
    const head = await client.send(new HeadObjectCommand({ ...BUCKET, Key: "a/b c+d" }));
    expect(head).toMatchObject({ ContentType: "text/plain", Metadata, ContentLength: 5, ETag: put.ETag });
  });

  it("replaces what was cached, and deletes it", async () => {
    for (const body of ["first", "second", "third"]) {
      await client.send(new PutObjectCommand({ ...BUCKET, Key: "k", Body: body }));
      expect(await read("k")).toBe(body);
    }
    await client.send(new DeleteObjectCommand({ ...BUCKET, Key: "k" }));
    await expect(read("k")).rejects.toMatchObject({ name: "NoSuchKey" });
    await client.send(new PutObjectCommand({ ...BUCKET, Key: "k", Body: "again" }));
    expect(await read("k")).toBe("again");
  });

  it("streams a large body, whose length is declared, with the checksum behind it", async () => {
    const body = rampBytes(0, 3 * 2 ** 20 + 17, 5);
    await client.send(new PutObjectCommand({ ...BUCKET, Key: "large", Body: body, ContentEncoding: "gzip" }));
    expect(await read("large")).toBe(body.toString("latin1"));
    expect(origin.objects.get("bucket", "large")!.headers["content-encoding"]).toBe("gzip");
    const streamed = Readable.from(Array.from({ length: 32 }, (_, at) => body.subarray(at * 100_000, (at + 1) * 100_000)));
    const input = {
      ...BUCKET,
      Key: "streamed",
      Body: streamed,
      ContentLength: body.length,
      ChecksumAlgorithm: "CRC32C" as const,
    };
    await client.send(new PutObjectCommand(input));
    expect(await read("streamed")).toBe(body.toString("latin1"));
    expect([...origin.writes.lastTrailers.keys()]).toEqual(["x-amz-checksum-crc32c"]);
  });

  it("uploads in parts, and copies at the origin", async () => {
    const Key = "parts";
    await client.send(new PutObjectCommand({ ...BUCKET, Key, Body: "old" }));
    expect(await read(Key)).toBe("old");
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...BUCKET, Key }));
    const parts = await Promise.all(
      [1, 2, 3].map(async (PartNumber) => {
        const { ETag } = await client.send(
          new UploadPartCommand({ ...BUCKET, Key, UploadId, PartNumber, Body: `part ${PartNumber}.` }),
        );
        return { PartNumber, ETag };
      }),
    );
    expect(await read(Key)).toBe("old");
    await client.send(new CompleteMultipartUploadCommand({ ...BUCKET, Key, UploadId, MultipartUpload: { Parts: parts } }));
    expect(await read(Key)).toBe("part 1.part 2.part 3.");
    await client.send(new CopyObjectCommand({ ...BUCKET, Key: "copy", CopySource: "bucket/parts" }));
    expect(await read("copy")).toBe("part 1.part 2.part 3.");
  });

  it("passes conditions and their refusals on", async () => {
    const put = (input: object) => client.send(new PutObjectCommand({ ...BUCKET, Key: "conditional", Body: "new", ...input }));
    const { ETag } = await put({ IfNoneMatch: "*" });
    await expect(put({ IfNoneMatch: "*", Body: "other" })).rejects.toMatchObject({ name: "PreconditionFailed" });
    expect(await read("conditional")).toBe("new");
    await expect(put({ IfMatch: '"wrong"', Body: "other" })).rejects.toMatchObject({ name: "PreconditionFailed" });
    await put({ IfMatch: ETag, Body: "other" });
    expect(await read("conditional")).toBe("other");
  });

  it("deletes many objects in one request, and none if the request is malformed", async () => {
    const keys = ["many/a", "many/b & <c>", "many/\u00fc"];
    for (const Key of keys) await client.send(new PutObjectCommand({ ...BUCKET, Key, Body: Key }));
    for (const Key of keys) expect((await read(Key)).length).toBeGreaterThan(0);
    const answer = await send("POST", "/bucket?delete", unsigned(20), ["<Delete><Object/></D"]);
    expect([answer.status, /<Code>(\w+)<\/Code>/.exec(answer.body)?.[1]]).toEqual([400, "MalformedXML"]);
    expect((await read(keys[0]!)).length).toBeGreaterThan(0);
    const { Deleted } = await client.send(
      new DeleteObjectsCommand({ ...BUCKET, Delete: { Objects: keys.map((Key) => ({ Key })) } }),
    );
    expect(Deleted!.map(({ Key }) => Key)).toEqual(keys);
    for (const Key of keys) await expect(read(Key)).rejects.toMatchObject({ name: "NoSuchKey" });
  });

  it("creates and deletes buckets", async () => {
    await client.send(new CreateBucketCommand({ Bucket: "another" }));
    await client.send(new PutObjectCommand({ Bucket: "another", Key: "k", Body: "hello" }));
    await client.send(new DeleteObjectCommand({ Bucket: "another", Key: "k" }));
    expect(await client.send(new DeleteBucketCommand({ Bucket: "another" }))).toBeDefined();
  });

  it("ignores other expectations, as S3 does", async () => {
    for (const expectation of ["", "200", "coffee"]) {
      const sent = request(`${stack.endpoint}/bucket/ignored`, {
        method: "PUT",
        headers: { ...unsigned(5), expect: expectation },
        agent: false,
      });
      sent.end("hello");
      const [response] = (await once(sent, "response")) as [IncomingMessage];
      response.resume();
      expect(response.statusCode).toBe(200);
    }
    expect(await read("ignored")).toBe("hello");
  });

  it("has a client that expects it continue after it is admitted", async () => {
    const headers = { ...unsigned(5), expect: "100-continue" };
    expect((await send("PUT", "/bucket/expected", headers, ["hello"])).status).toBe(200);
    expect(await read("expected")).toBe("hello");
  });
});

describe("a write that fails at the origin", () => {
  it("is reported as of unknown outcome if the answer is lost, and the next read asks the origin", async () => {
    const put = (body: string) => send("PUT", "/bucket/unknown", unsigned(body.length), [body]);
    expect((await put("before")).status).toBe(200);
    expect(await read("unknown")).toBe("before");
    const mend = origin.faults.place({ reset: true, when: ({ method }) => method === "PUT" });
    const lost = await put("after");
    mend();
    expect([lost.status, lost.headers["frontcache-outcome"]]).toEqual([500, "unknown"]);
    // The store has taken it after all.
    origin.put("bucket", "unknown", "after");
    expect(await read("unknown")).toBe("after");
    origin.put("bucket", "unknown", "later");
    expect(await read("unknown")).toBe("later");
  });

  it("has the origin's own error", async () => {
    const error = { status: 503, code: "SlowDown" };
    origin.faults.place({ error, times: 1, when: ({ method }) => method === "PUT" });
    const busy = await send("PUT", "/bucket/busy", unsigned(5), ["hello"]);
    expect([busy.status, /<Code>(\w+)<\/Code>/.exec(busy.body)?.[1]]).toEqual([503, "SlowDown"]);
    await expect(read("busy")).rejects.toMatchObject({ name: "NoSuchKey" });
  });

  it("is known not to be written if the origin cannot be reached", async () => {
    const gone = await S3Emulator.start();
    await gone.close();
    await using alone = await HttpStack.open(gone.endpoint, { writes: true });
    const sent = await fetch(`${alone.endpoint}/bucket/k`, { method: "PUT", body: "hello" });
    expect([sent.status, sent.headers.get("frontcache-outcome")]).toEqual([503, null]);
    expect(await sent.text()).toContain("ECONNREFUSED");
  });
});

describe("a damaged write", () => {
  const large = rampBytes(0, 2 ** 20, 1);
  const chunked = {
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-trailer": "x-amz-checksum-crc32",
    "x-amz-decoded-content-length": "5",
  };
  const framed = (trailer: string) => `5\r\nhello\r\n0\r\n${trailer}\r\n`;

  it.each<[string, string, Readonly<Record<string, string>>, (string | Buffer)[], number, string]>([
    ["a Content-MD5 of other bytes", "damaged", { ...unsigned(5), "content-md5": md5("other") }, ["hello"], 400, "BadDigest"],
    [
      "the same for a large body",
      "damaged",
      { ...unsigned(large.length), "content-md5": md5("other") },
      [large],
      400,
      "BadDigest",
    ],
    ["a malformed Content-MD5", "damaged", { ...unsigned(5), "content-md5": "abc" }, ["hello"], 400, "InvalidDigest"],
    ["a wrong CRC32", "damaged", { ...unsigned(5), "x-amz-checksum-crc32": "AAAAAA==" }, ["hello"], 400, "BadDigest"],
    ["a malformed checksum", "damaged", { ...unsigned(5), "x-amz-checksum-sha256": "AAAA" }, ["hello"], 400, "InvalidRequest"],
    [
      "the SHA-256 of other bytes",
      "damaged",
      { ...unsigned(5), "x-amz-content-sha256": "0".repeat(64) },
      ["hello"],
      400,
      "XAmzContentSHA256Mismatch",
    ],
    [
      "an unknown form of its body",
      "damaged",
      { ...unsigned(5), "x-amz-content-sha256": "FOO" },
      ["hello"],
      400,
      "InvalidArgument",
    ],
    ["no length", "damaged", { "transfer-encoding": "chunked" }, ["hello"], 411, "MissingContentLength"],
    ["a wrong trailer", "damaged", chunked, [framed("x-amz-checksum-crc32:AAAAAA==\r\n")], 400, "BadDigest"],
    ["a missing trailer", "damaged", chunked, [framed("")], 400, "MalformedTrailerError"],
    [
      "a trailer that was not announced",
      "damaged",
      chunked,
      [framed("x-amz-checksum-crc32c:AAAAAA==\r\n")],
      400,
      "MalformedTrailerError",
    ],
    [
      "a longer body than announced",
      "damaged",
      { ...chunked, "x-amz-decoded-content-length": "4" },
      [framed("x-amz-checksum-crc32:NhCmhg==\r\n")],
      400,
      "IncompleteBody",
    ],
    [
      "a shorter body than announced",
      "damaged",
      { ...chunked, "x-amz-decoded-content-length": "6" },
      [framed("x-amz-checksum-crc32:NhCmhg==\r\n")],
      400,
      "IncompleteBody",
    ],
    ["a chunk that is cut", "damaged", chunked, ["5\r\nhel"], 400, "IncompleteBody"],
    ["bytes behind its end", "damaged", chunked, [`${framed("x-amz-checksum-crc32:NhCmhg==\r\n")}more`], 400, "IncompleteBody"],
    ["part number 0", "damaged?uploadId=a&partNumber=0", unsigned(5), ["hello"], 400, "InvalidArgument"],
    ["part number 10,001", "damaged?uploadId=a&partNumber=10001", unsigned(5), ["hello"], 400, "InvalidArgument"],
    ["an unknown parameter", "damaged?foo=bar", unsigned(5), ["hello"], 400, "InvalidArgument"],
  ])("with %s is refused, and nothing is written", async (_, path, headers, pieces, status, code) => {
    const answer = await send("PUT", `/bucket/${path}`, headers, pieces);
    expect([answer.status, /<Code>(\w+)<\/Code>/.exec(answer.body)?.[1]]).toEqual([status, code]);
    expect(await read("damaged")).toBe("before");
  });

  it("is not stored if its client disconnects before the end", async () => {
    const sent = request(`${stack.endpoint}/bucket/damaged`, {
      method: "PUT",
      headers: unsigned(2 * large.length),
      agent: false,
    });
    sent.on("error", () => {});
    sent.write(large);
    await expect.poll(() => origin.traffic.open, { timeout: 30_000 }).toBe(1);
    sent.destroy();
    await expect.poll(() => origin.traffic.open, { timeout: 30_000 }).toBe(0);
    expect(await read("damaged")).toBe("before");
  });
});
