import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { parseObjectUrl } from "@frontcache/proto";
import type { Origin } from "@frontcache/server";
import {
  bytesOf,
  type OriginEvents,
  type OriginFailure,
  openOrigins,
  parseOrigins,
  rangeOf,
  readSettings,
} from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SeenRequest } from "../emulators/faults.js";
import { GcsEmulator } from "../emulators/gcs.js";
import { S3Emulator } from "../emulators/s3.js";
import { ignoredEvents, observedOrigins } from "./open-s3.js";

/** The heads of all requests, which are sent past the streams of their sockets. */
const sentDirectly: string[] = [];

const directSend = (socket: Socket) => (bytes: Uint8Array, count: number) => {
  const head = Buffer.from(bytes.subarray(0, count));
  sentDirectly.push(head.toString("latin1"));
  socket.write(head);
  return count;
};

function open(content: string, environment: Record<string, string> = {}, events: Partial<OriginEvents> = {}): Origin {
  const settings = { ...readSettings({}, {}), origins: parseOrigins(content, "origins.yaml") };
  return openOrigins(settings, environment, { ...ignoredEvents, ...events }, observedOrigins(), undefined, directSend);
}

const textOf = async (origin: Origin, url: string): Promise<string> =>
  (await bytesOf(await origin.fetch(rangeOf(parseObjectUrl(url), { offset: 0, length: 100 })))).toString();

describe("one member with two S3 stores and GCS", () => {
  let aws: S3Emulator;
  let minio: S3Emulator;
  let google: GcsEmulator;
  let origin: Origin;
  const seen: SeenRequest[] = [];

  beforeAll(async () => {
    [aws, minio, google] = [await S3Emulator.start(), await S3Emulator.start(), await GcsEmulator.start()];
    for (const { faults } of [aws, minio, google]) faults.place({ when: (request) => seen.push(request) === 0 });
    aws.put("datasets", "key", "at AWS");
    minio.put("lake-raw", "key", "at MinIO");
    minio.put("scratch", "key", "at MinIO, too");
    minio.put("acme-tables", "key", "under another name");
    google.put("models", "key", "at Google");
    origin = open(
      `
origins:
  - buckets: [s3://lake-*, s3://scratch]
    endpoint: ${minio.endpoint}
    region: home
    pathStyle: true
    credentials: { keys: { accessKeyId: LAKE_ID, secretAccessKey: LAKE_SECRET } }
    limits: { requestsPerSecond: 1000, concurrency: 50 }
  - { buckets: s3://tables, storeBucket: acme-tables, endpoint: "${minio.endpoint}", pathStyle: true, credentials: anonymous }
  - buckets: s3://*
    endpoint: ${aws.endpoint}
    region: eu-west-1
    pathStyle: true
    credentials: anonymous
    requesterPays: true
  - buckets: gs://models
    endpoint: ${google.endpoint}
    credentials: anonymous
    userProject: payer
`,
      { LAKE_ID: "lake-id", LAKE_SECRET: "lake-secret" },
    );
  });

  afterAll(async () => {
    origin.close();
    await Promise.all([aws.close(), minio.close(), google.close()]);
  });

  it("sends requests to both kinds of stores past the streams of their sockets", async () => {
    sentDirectly.length = 0;
    await Promise.all(["s3://datasets/key", "gs://models/key"].map((url) => textOf(origin, url)));
    expect(sentDirectly.map((head) => head.slice(0, 4))).toEqual(["GET ", "GET "]);
  });

  it("sends each request to the object's store, with the options of its rule", async () => {
    const urls = ["s3://datasets/key", "s3://lake-raw/key", "s3://scratch/key", "gs://models/key"];
    expect(await Promise.all(urls.map((url) => textOf(origin, url)))).toEqual([
      "at AWS",
      "at MinIO",
      "at MinIO, too",
      "at Google",
    ]);
    const of = (bucket: string) => seen.find((request) => request.bucket === bucket)!.headers;
    expect(of("lake-raw").authorization).toMatch(/Credential=lake-id\/\d+\/home\/s3\//);
    expect(of("lake-raw")["x-amz-request-payer"]).toBeUndefined();
    expect([of("datasets").authorization, of("datasets")["x-amz-request-payer"]]).toEqual([undefined, "requester"]);
    expect(of("models")["x-goog-user-project"]).toBe("payer");
  });

  it("reads a bucket that the store knows by another name", async () => {
    expect(await textOf(origin, "s3://tables/key")).toBe("under another name");
  });

  it("rejects buckets that the file does not name, without a request", async () => {
    seen.length = 0;
    await expect(textOf(origin, "gs://media/key")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(seen).toEqual([]);
  });

  it("keeps using the other stores while one does not answer", async () => {
    minio.faults.place({ latencyMs: 60_000 });
    const abort = new AbortController();
    const stalled = origin.fetch(rangeOf(parseObjectUrl("s3://lake-raw/key"), { offset: 0, length: 1 }, abort.signal));
    const cancelled = expect(stalled).rejects.toMatchObject({ code: "CANCELLED" });
    expect(await textOf(origin, "s3://datasets/key")).toBe("at AWS");
    expect(await textOf(origin, "gs://models/key")).toBe("at Google");
    abort.abort();
    await cancelled;
  });
});

describe("a request that fails finally", () => {
  it("is reported once, with the origin's address, the object, the cause and the duration of all attempts", async () => {
    await using store = await S3Emulator.start();
    store.put("lake", "key", "content");
    store.faults.place({ error: { status: 403, code: "AccessDenied" } });
    const failures: OriginFailure[] = [];
    const rule = `{ buckets: s3://*, endpoint: "${store.endpoint}", pathStyle: true, credentials: anonymous }`;
    const origin = open(`origins: [${rule}]`, {}, { onFailure: (failure) => failures.push(failure) });
    await expect(textOf(origin, "s3://lake/key")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(failures).toMatchObject([
      {
        endpoint: store.endpoint,
        ref: { bucket: "lake", url: "s3://lake/key" },
        operation: "fetch",
        error: { code: "PERMISSION_DENIED" },
      },
    ]);
    expect(failures[0]!.error.cause).toMatchObject({ name: "AccessDenied" });
    expect(failures[0]!.durationMs).toBeGreaterThan(0);
    origin.close();
  });
});

describe("the origins file in the documentation", () => {
  it("is valid", () => {
    const text = readFileSync(join(import.meta.dirname, "..", "..", "server", "README.md"), "utf8");
    const [, example] = /```yaml\n(.*?)```/s.exec(text)!;
    const buckets = parseOrigins(example!, "README.md").map((rule) =>
      rule.buckets.map(({ scheme, bucket }) => `${scheme}://${bucket}`),
    );
    expect(buckets.flat()).toEqual(["s3://lake-*", "s3://scratch", "s3://partner-data", "s3://*", "gs://models", "gs://*"]);
  });
});
