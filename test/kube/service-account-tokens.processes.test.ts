import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CacheError } from "@frontcache/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectClient, MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { RealCluster } from "./real-cluster.js";

const kubeconfig = process.env.FRONTCACHE_TEST_KUBECONFIG;
const suite = kubeconfig
  ? "a pod's token from a real Kubernetes API"
  : "a pod's token from a real Kubernetes API (skipped: FRONTCACHE_TEST_KUBECONFIG names no admin kubeconfig)";

const BYTES = 1_000;
const PUBLIC = "s3://bucket/public/a";
const PRIVATE = "s3://bucket/private/b";

describe.skipIf(!kubeconfig)(suite, () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let origin: S3Emulator;
  let cluster: RealCluster;

  beforeAll(async () => {
    directory = await temporaryDirectory();
    origin = await S3Emulator.start();
    for (const [key, seed] of [
      ["public/a", 1],
      ["private/b", 2],
    ] as const)
      origin.putRamp("bucket", key, BYTES, seed);
    cluster = await RealCluster.open(kubeconfig!);
    for (const name of ["reader", "stranger"]) {
      await cluster.createServiceAccount(name);
      await cluster.createPod(name, { ready: true }, name);
    }
    await cluster.writeMemberKubeconfig(join(directory.path, "member"));
    await cluster.writeReviewerKubeconfig(join(directory.path, "reviewer"));
  });

  afterAll(async () => {
    await cluster?.release();
    await origin?.close();
    await directory[Symbol.asyncDispose]();
  });

  /** Starts a member that asks the API server with these credentials, and grants one ServiceAccount to read what is public. */
  function start(credentials: "member" | "reviewer"): Promise<MemberProcess> {
    const identities = join(directory.path, "identities.yaml");
    const to = `system:serviceaccount:${cluster.namespace}:reader`;
    const grant = `{ to: "${to}", operations: read, buckets: s3://bucket, prefixes: public/ }`;
    writeFileSync(identities, `kubernetes: {}\ngrants: [${grant}]\n`);
    const key = join(directory.path, "members-key");
    writeFileSync(key, "a-key-of-the-members-0123456789abcdef");
    return MemberProcess.start({
      endpoint: origin.endpoint,
      cacheDirectory: join(directory.path, `cache-${credentials}`),
      flags: [
        ...["--kubeconfig", join(directory.path, credentials)],
        ...["--identities-file", identities, "--members-key-file", key],
      ],
    });
  }

  /** What a read with a token gets, by each protocol: the bytes are right, or the code of the error. */
  async function read(member: MemberProcess, url: string, token: string): Promise<string[]> {
    const outcomes: string[] = [];
    for (const transport of ["http", "grpc"] as const) {
      try {
        await using client = await connectClient({ endpoint: member.grpc, transport, token });
        const bytes = await client.readRange(url, 0, BYTES);
        outcomes.push(bytes.equals(rampBytes(0, BYTES, 1)) ? "read" : "wrong bytes");
      } catch (error) {
        outcomes.push(CacheError.from(error).code);
      }
    }
    return outcomes;
  }

  /** Waits for what a read gets. On a busy machine the API server may answer too late at first. */
  async function until(member: MemberProcess, url: string, token: string, expected: string[]): Promise<void> {
    await expect.poll(() => read(member, url, token), { timeout: 60_000, interval: 50 }).toEqual(expected);
  }

  it.each([
    ["the cluster's signing keys", "member"],
    ["token reviews", "reviewer"],
  ] as const)("reads what its ServiceAccount is granted, and nothing else, by %s", async (_what, credentials) => {
    const member = await start(credentials);
    const token = await cluster.tokenOf("reader", ["frontcache"], "reader");
    await until(member, PUBLIC, token, ["read", "read"]);
    await until(member, PRIVATE, token, ["PERMISSION_DENIED", "PERMISSION_DENIED"]);
    const stranger = await cluster.tokenOf("stranger", ["frontcache"], "stranger");
    await until(member, PUBLIC, stranger, ["PERMISSION_DENIED", "PERMISSION_DENIED"]);
    // A pod's token for the API server itself must not be accepted by others, who could then use it there.
    const forApi = await cluster.tokenOf("reader", [], "reader");
    await until(member, PUBLIC, forApi, ["UNAUTHENTICATED", "UNAUTHENTICATED"]);
    const forged = `${token.slice(0, -4)}${token.endsWith("AAAA") ? "BBBB" : "AAAA"}`;
    await until(member, PUBLIC, forged, ["UNAUTHENTICATED", "UNAUTHENTICATED"]);
    expect(`${JSON.stringify(member.log)}${member.stderr}`).not.toContain(token.split(".")[2]);
    expect(await member.stop()).toBe(0);
  });

  it("is replaced in its file while a client reads, as a kubelet does, without a failed read", async () => {
    const member = await start("member");
    const first = await cluster.tokenOf("reader", ["frontcache"], "reader");
    await until(member, PUBLIC, first, ["read", "read"]);
    const tokenFile = join(directory.path, "token");
    writeFileSync(tokenFile, first);
    const clients = [
      await connectClient({ endpoint: member.grpc, transport: "http", tokenFile }),
      await connectClient({ endpoint: member.grpc, transport: "grpc", tokenFile }),
    ];
    const readAll = async (): Promise<void> => {
      for (const client of clients) expect(await client.readRange(PUBLIC, 0, BYTES)).toEqual(rampBytes(0, BYTES, 1));
    };
    await readAll();
    writeFileSync(tokenFile, await cluster.tokenOf("reader", ["frontcache"], "reader"));
    for (let round = 0; round < 20; round++) await readAll();
    // The file is read again: with the token of another ServiceAccount, the same clients are refused.
    writeFileSync(tokenFile, await cluster.tokenOf("stranger", ["frontcache"], "stranger"));
    for (const client of clients) {
      const refused = () =>
        client.readRange(PUBLIC, 0, BYTES).then(
          () => "read",
          (error: unknown) => CacheError.from(error).code,
        );
      await expect.poll(refused, { timeout: 60_000, interval: 50 }).toBe("PERMISSION_DENIED");
    }
    for (const client of clients) await client.close();
    expect(await member.stop()).toBe(0);
  });
});
