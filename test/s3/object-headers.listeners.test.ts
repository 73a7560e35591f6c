import { HeadObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cluster } from "../e2e/cluster.js";
import { connectClient } from "../e2e/member-process.js";
import { sdkClient } from "./sdk-client.js";
import { sendRequest } from "./send-request.js";

/** Every header that S3 stores with an object or returns with it. */
const EVERYTHING = {
  "cache-control": "max-age=3600, public",
  "content-disposition": 'attachment; filename="x.csv"',
  "content-encoding": "aws-chunked,gzip",
  "content-language": "de, en",
  expires: "Wed, 01 Jul 2026 01:00:00 GMT",
  "x-amz-checksum-crc64nvme": "AAAAAAAAAAA=",
  "x-amz-checksum-type": "FULL_OBJECT",
  "x-amz-expiration": 'expiry-date="Fri, 21 Dec 2029 00:00:00 GMT", rule-id="Rule"',
  "x-amz-meta-empty": "",
  "x-amz-meta-mtime": "1700000000.123456789",
  "x-amz-meta-name": "=?UTF-8?Q?M=C3=BCnchen?=",
  "x-amz-meta-latin": "caf\xe9",
  "x-amz-mp-parts-count": "3",
  "x-amz-object-lock-legal-hold": "ON",
  "x-amz-object-lock-mode": "COMPLIANCE",
  "x-amz-object-lock-retain-until-date": "2029-01-01T00:00:00.000Z",
  "x-amz-replication-status": "COMPLETED",
  "x-amz-restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"',
  "x-amz-server-side-encryption": "aws:kms",
  "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:us-east-1:1:key/2",
  "x-amz-server-side-encryption-bucket-key-enabled": "true",
  "x-amz-storage-class": "STANDARD_IA",
  "x-amz-tagging-count": "2",
  "x-amz-version-id": "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
  "x-amz-website-redirect-location": "/elsewhere",
};

/** Headers that describe an answer or a connection, not the object. */
const OF_AN_ANSWER = [
  "date",
  "connection",
  "keep-alive",
  "x-amz-request-id",
  "x-cache",
  "age",
  "via",
  "server-timing",
  "transfer-encoding",
];

interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: string;
}

async function ask(base: string, method: string, key: string, headers: Record<string, string>): Promise<Answer> {
  const answer = await sendRequest(`${base}/bucket/${key}`, method, headers);
  const of = Object.entries(answer.headers).filter(([name]) => !OF_AN_ANSWER.includes(name));
  return { ...answer, headers: Object.fromEntries(of) };
}

function withoutChecksums({ headers, ...answer }: Answer): Answer {
  const kept = Object.entries(headers).filter(([name]) => !name.startsWith("x-amz-checksum-"));
  return { ...answer, headers: Object.fromEntries(kept) };
}

const MODE = { "x-amz-checksum-mode": "ENABLED" };

describe.each(["auto", "grpc"])("all headers of an object, with --forward %s", (forward) => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start({ processes: [], names: ["a", "b"], flags: ["--revalidate-after", "0", "--forward", forward] });
  });

  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  const memberAt = (name: string): string => `http://${cluster.member(name).http}/s3`;

  /** Sends all kinds of requests for an object. */
  async function* answersOf(base: string, key: string): AsyncGenerator<readonly [request: string, send: () => Promise<Answer>]> {
    const { version } = cluster.origin.objects.get("bucket", key)!;
    for (const [method, headers] of [
      ["HEAD", {}],
      ["GET", {}],
      ["GET", { range: "bytes=2-5" }],
      ["GET", { range: "bytes=2-5", "if-match": version }],
      ["GET", { range: "bytes=-3", ...MODE }],
      ["HEAD", MODE],
      ["GET", MODE],
      ["GET", { "if-none-match": version }],
      ["HEAD", { "if-none-match": version }],
    ] as const)
      yield [`${method} ${key} ${JSON.stringify(headers)}`, () => ask(base, method, key, headers)];
  }

  async function answersOfOrigin(key: string): Promise<Map<string, Answer>> {
    const answers = new Map<string, Answer>();
    for await (const [request, send] of answersOf(cluster.origin.endpoint, key)) answers.set(request, await send());
    return answers;
  }

  /** Sends the same requests to each member, and expects the origin's answers. */
  async function compareAll(key: string, expected?: ReadonlyMap<string, Answer>): Promise<void> {
    const answers = expected ?? (await answersOfOrigin(key));
    for (const name of cluster.names) {
      for await (const [request, send] of answersOf(memberAt(name), key)) {
        let answer = await send();
        // On a busy machine a member may find the object's home unreachable, and neither the home nor the origin answers.
        for (let tries = 0; answer.status === 503 && cluster.mostUnneeded > 0 && tries < 20; tries++) answer = await send();
        const expected = answers.get(request)!;
        // Such a member reads the bytes from the origin itself. They come without checksums.
        const isBusy = request.startsWith("GET") && cluster.mostUnneeded > 0;
        const [one, other] = isBusy ? [withoutChecksums(answer), withoutChecksums(expected)] : [answer, expected];
        expect(one, `${request} from ${name}`).toEqual(other);
      }
    }
  }

  it("come from the owner and from other members as from the origin, cold and cached, by HEAD, GET, ranges and 304", async () => {
    for (const key of ["object-1", "object-2", "object-3"]) {
      cluster.origin.put("bucket", key, `content of ${key}`, { contentType: "text/csv", headers: EVERYTHING });
      for (let round = 0; round < 2; round++) await compareAll(key);
    }
  });

  it("are those of the newest answer of the origin, also if the ETag has not changed", async () => {
    cluster.origin.put("bucket", "object-1", "content of object-1", {
      contentType: "text/plain",
      headers: { ...EVERYTHING, "x-amz-meta-mtime": "1700000001", "content-encoding": "identity" },
    });
    await compareAll("object-1");
    cluster.origin.put("bucket", "object-1", "content of object-1", { contentType: "text/csv", headers: EVERYTHING });
    await compareAll("object-1");
  });

  it("are there after a restart, also while the origin is down", async () => {
    const long = { ...EVERYTHING, "x-amz-meta-long": "v".repeat(10_500) };
    for (const [key, headers] of [
      ["object-1", EVERYTHING],
      ["object-2", long],
    ] as const) {
      cluster.origin.put("bucket", key, `content of ${key}`, { contentType: "text/csv", headers });
      await compareAll(key);
    }
    const expected = [await answersOfOrigin("object-1"), await answersOfOrigin("object-2")];
    for (const name of cluster.names) {
      await cluster.member(name).stop();
      await cluster.startAgain(name);
    }
    const lift = cluster.origin.faults.place({ error: { status: 503, code: "ServiceUnavailable" } });
    await compareAll("object-1", expected[0]);
    await compareAll("object-2", expected[1]);
    lift();
  });

  it("reach the AWS SDK and the TypeScript client", async () => {
    for (const name of cluster.names) {
      const s3 = sdkClient(memberAt(name));
      const head = await s3.send(new HeadObjectCommand({ Bucket: "bucket", Key: "object-1", ChecksumMode: "ENABLED" }));
      s3.destroy();
      expect(head).toMatchObject({
        ContentEncoding: EVERYTHING["content-encoding"],
        CacheControl: EVERYTHING["cache-control"],
        Metadata: { mtime: EVERYTHING["x-amz-meta-mtime"], empty: "" },
        ChecksumCRC64NVME: EVERYTHING["x-amz-checksum-crc64nvme"],
        StorageClass: "STANDARD_IA",
        ServerSideEncryption: "aws:kms",
        TagCount: 2,
        VersionId: EVERYTHING["x-amz-version-id"],
        ObjectLockMode: "COMPLIANCE",
      });
      const transport = forward === "grpc" ? "grpc" : "auto";
      const client = await connectClient({ endpoint: cluster.member(name).grpc, transport });
      const { headers, version } = await client.stat("s3://bucket/object-1");
      const bytes = await client.readRange("s3://bucket/object-1", 0, 100, version);
      await client.close();
      expect(bytes.toString()).toBe("content of object-1");
      expect(headers).toEqual(EVERYTHING);
    }
  });
});
