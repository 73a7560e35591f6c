import { type IncomingHttpHeaders, request } from "node:http";
import { join } from "node:path";
import { HeadBucketCommand, HeadObjectCommand, paginateListObjectsV2, S3Client } from "@aws-sdk/client-s3";
import type { CacheClient } from "@frontcache/client";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { GcsEmulator } from "../emulators/gcs.js";
import { rampBytes } from "../emulators/s3.js";
import { claimPorts, hostOf } from "./addresses.js";
import { MemberInProcess } from "./member-in-process.js";
import { connectClient, lostOthers, temporaryDirectory } from "./member-process.js";

const MiB = 1 << 20;
const BLOCKS = 8;

/** Small blocks, so that both members own some; every read checks the version. */
const SETTINGS = "--discovery static --block-size 1MiB --part-size 1MiB --revalidate-after 0 --leave-after 0".split(" ");

let origin: GcsEmulator;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
const members: MemberInProcess[] = [];
let client: CacheClient;
/** Origin requests without bytes: metadata of objects, and listings. */
let looks: string[] = [];

beforeAll(async () => {
  origin = await GcsEmulator.start();
  // A fault that only records requests.
  origin.faults.place({
    when: ({ query, bucket, key }) => {
      if (query.get("alt") !== "media") looks.push(`${bucket}/${key}`);
      return false;
    },
  });
  directory = await temporaryDirectory();
  const port = await claimPorts();
  const names = ["cache-a", "cache-b"];
  const list = names.map((name, at) => `${name}=${hostOf(at)}:${port}/${port + 1}`).join(",");
  const started = names.map((name, at) =>
    MemberInProcess.start({
      // Nothing listens there: these members have no S3 origin.
      endpoint: "http://127.0.0.1:1",
      cacheDirectory: join(directory.path, name),
      flags: [
        ...SETTINGS,
        ...["--members", list, "--name", name],
        ...["--listen", `${hostOf(at)}:${port}`, "--http-listen", `${hostOf(at)}:${port + 1}`],
      ],
      env: { STORAGE_EMULATOR_HOST: origin.endpoint },
    }),
  );
  members.push(...(await Promise.all(started)));
  client = await connectClient({ endpoint: members[0]!.grpc });
});

afterAll(async () => {
  await client?.close();
  for (const code of await Promise.all(members.map((member) => member.stop()))) expect(code).toBe(0);
  await origin?.close();
  await directory?.[Symbol.asyncDispose]();
});

beforeEach(() => {
  origin.traffic.reset();
  looks = [];
});

/** Sends a GET to a member's HTTP listener. */
async function get(member: MemberInProcess, path: string, headers: Record<string, string> = {}) {
  const response = await fetch(`http://${member.http}/gs/${path}`, { headers });
  return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
}

/** The same without decoding. */
function getRaw(member: MemberInProcess, path: string, headers: Record<string, string>) {
  return new Promise<{ status: number; headers: IncomingHttpHeaders; bytes: Buffer }>((resolve, reject) => {
    const sent = request(`http://${member.http}/gs/${path}`, { headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode!, headers: response.headers, bytes: Buffer.concat(chunks) }),
      );
    });
    sent.on("error", reject);
    sent.end();
  });
}

describe("members with GCS as origin, configured by STORAGE_EMULATOR_HOST", () => {
  it("read an object across blocks and members and fetch each byte once", async () => {
    const version = origin.putRamp("bucket", "a b/ü#1", BLOCKS * MiB + 5, 3);
    for (let round = 0; round < 2; round++) {
      const bytes = await client.readRange("gs://bucket/a b/ü#1", 7, 2 ** 30, version);
      expect(bytes.equals(rampBytes(7, BLOCKS * MiB - 2, 3))).toBe(true);
      const isCalm = members.every((member) => lostOthers(member) === 0);
      expect(origin.traffic.bytesSent).toBeLessThanOrEqual(isCalm ? BLOCKS * MiB + 5 : Number.POSITIVE_INFINITY);
    }
    expect(await client.stat("gs://bucket/a b/ü#1")).toMatchObject({ version, objectSize: BLOCKS * MiB + 5 });
  });

  it("keep serving a generation after the object was overwritten", async () => {
    const old = origin.put("bucket", "changing", "old");
    const read = async (version?: string) => (await client.readRange("gs://bucket/changing", 0, 100, version)).toString();
    expect(await read()).toBe("old");
    const current = origin.put("bucket", "changing", "new");
    expect(await read()).toBe("new");
    expect([await read(old), await read(current)]).toEqual(["old", "new"]);
    await expect(read("12345")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await expect(read("not a generation")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    origin.delete("bucket", "changing");
    await expect(read()).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("answer HTTP requests as S3 does, with the generation as ETag", async () => {
    const version = origin.put("bucket", "typed", "0123456789", { contentType: "text/plain" });
    for (const member of members) {
      const part = await get(member, "bucket/typed", { range: "bytes=2-4" });
      expect([part.status, part.bytes.toString(), part.headers.get("content-range")]).toEqual([206, "234", "bytes 2-4/10"]);
      expect([part.headers.get("etag"), part.headers.get("content-type")]).toEqual([`"${version}"`, "text/plain"]);
      expect((await get(member, "bucket/typed", { "if-none-match": `"${version}"` })).status).toBe(304);
      expect((await get(member, "bucket/typed", { "if-match": '"1"', range: "bytes=2-4" })).status).toBe(412);
      expect((await get(member, "bucket/missing")).status).toBe(404);
    }
  });

  it("return all headers with blocks that any member owns, for one request for the metadata", async () => {
    const resource = { contentEncoding: "gzip", cacheControl: "no-transform", metadata: { Owner: "M\u00fcller", mtime: "1.5" } };
    const version = origin.put("bucket", "owned", rampBytes(0, BLOCKS * MiB, 9), { contentType: "x/y", resource });
    const seen = Math.floor(origin.objects.get("bucket", "owned")!.lastModifiedMs / 1000) * 1000;
    for (const member of members) {
      for (let block = 0; block < BLOCKS; block++) {
        const range = `bytes=${block * MiB}-${block * MiB + 999}`;
        const { status, headers, bytes } = await getRaw(member, "bucket/owned", { range, "if-match": `"${version}"` });
        expect([status, Date.parse(headers["last-modified"] ?? "")]).toEqual([206, seen]);
        expect(headers).toMatchObject({
          "content-type": "x/y",
          "content-encoding": "gzip",
          "cache-control": "no-transform",
          "x-goog-meta-owner": Buffer.from("M\u00fcller").toString("latin1"),
          "x-goog-meta-mtime": "1.5",
          "x-goog-storage-class": "STANDARD",
        });
        expect(bytes.equals(rampBytes(block * MiB, 1000, 9))).toBe(true);
      }
    }
    // One is enough. A member that stood still on a busy machine asks again.
    expect(new Set(looks)).toEqual(new Set(["bucket/owned"]));
    expect(looks.length).toBeLessThan(BLOCKS);
  });

  it("list buckets for S3 tools", async () => {
    const keys = Array.from({ length: 12 }, (_, at) => `dir/ü&+${String(at).padStart(2, "0")}`);
    const versions = keys.map((key) => origin.put("listed", key, key));
    const s3 = new S3Client({
      endpoint: `http://${members[1]!.http}/gs`,
      forcePathStyle: true,
      region: "us-east-1",
      credentials: { accessKeyId: "any", secretAccessKey: "any" },
    });
    try {
      const listed: unknown[] = [];
      for await (const { Contents = [] } of paginateListObjectsV2({ client: s3, pageSize: 5 }, { Bucket: "listed" })) {
        listed.push(...Contents.map(({ Key, ETag, Size }) => ({ Key, ETag, Size })));
      }
      const expected = keys.map((Key, at) => ({ Key, ETag: `"${versions[at]}"`, Size: Buffer.byteLength(Key) }));
      expect(listed).toEqual(expected);
      const head = await s3.send(new HeadObjectCommand({ Bucket: "listed", Key: keys[3]! }));
      expect(head.ETag).toBe(`"${versions[3]}"`);
      expect((await s3.send(new HeadBucketCommand({ Bucket: "listed" }))).$metadata.httpStatusCode).toBe(200);
      await expect(s3.send(new HeadBucketCommand({ Bucket: "none" }))).rejects.toMatchObject({ name: "NotFound" });
    } finally {
      s3.destroy();
    }
  });
});
