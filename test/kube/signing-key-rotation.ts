// npm run kube:rotation: clients read with tokens of a ServiceAccount while a real API server rotates the key that signs them. Exits with
// 1 if a read fails, or if a token is accepted whose key was removed. Needs etcd and kube-apiserver: `-- --apiserver /path/to/kube-apiserver`.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CacheError } from "@frontcache/client";
import { connectClient, MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { LocalApiServer } from "./local-api-server.js";
import { RealCluster } from "./real-cluster.js";

const { values } = parseArgs({
  options: {
    etcd: { type: "string", default: "etcd" },
    apiserver: { type: "string", default: "kube-apiserver" },
  },
});

const BYTES = 1_000;
const URL = "s3://bucket/a";
/** A member asks for the keys again if a token names an unknown one, and every five minutes. */
const REMOVED_WITHIN_MS = 6 * 60_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

await using directory = await temporaryDirectory();
await using server = await LocalApiServer.create({ etcd: values.etcd, apiServer: values.apiserver }, directory.path);
await using origin = await S3Emulator.start();
origin.putRamp("bucket", "a", BYTES, 1);
await server.run({ signing: "first", accepted: ["first"] });
const cluster = await RealCluster.open(server.kubeconfig());
await cluster.createServiceAccount("reader");
await cluster.createPod("reader", { ready: true }, "reader");
const memberKubeconfig = join(directory.path, "member");
await cluster.writeMemberKubeconfig(memberKubeconfig);
const identities = join(directory.path, "identities.yaml");
const to = `system:serviceaccount:${cluster.namespace}:reader`;
writeFileSync(identities, `kubernetes: {}\ngrants: [{ to: "${to}", operations: read, buckets: s3://bucket }]\n`);
const key = join(directory.path, "members-key");
writeFileSync(key, "a-key-of-the-members-0123456789abcdef");
const member = await MemberProcess.start({
  endpoint: origin.endpoint,
  cacheDirectory: join(directory.path, "cache"),
  flags: ["--kubeconfig", memberKubeconfig, "--identities-file", identities, "--members-key-file", key],
});

/** Reads with one token, by each protocol, on new connections: each read is authenticated. */
async function read(token: string): Promise<string> {
  try {
    for (const transport of ["http", "grpc"] as const) {
      await using client = await connectClient({ endpoint: member.grpc, transport, token });
      const bytes = await client.readRange(URL, 0, BYTES);
      if (!bytes.equals(rampBytes(0, BYTES, 1))) return "wrong bytes";
    }
    return "read";
  } catch (error) {
    return `${CacheError.from(error).code}: ${(error as Error).message}`;
  }
}

let failures = 0;
function report(what: string, outcome: string, expected: string): void {
  const isExpected = outcome.startsWith(expected);
  if (!isExpected) failures++;
  console.log(`${isExpected ? "ok" : "FAILED"}: ${what}: ${outcome}`);
}

/** Reads again and again, as a service does, until it is stopped. */
class Reading {
  reads = 0;
  readonly failed = new Set<string>();
  #isOver = false;
  readonly #done: Promise<void>;

  constructor(token: string) {
    this.#done = (async () => {
      while (!this.#isOver) {
        const outcome = await read(token);
        this.reads++;
        if (outcome !== "read") this.failed.add(outcome);
        await pause(50);
      }
    })();
  }

  async stop(what: string): Promise<void> {
    this.#isOver = true;
    await this.#done;
    report(`${what}, ${this.reads} times`, this.failed.size === 0 ? "read" : [...this.failed].join("; "), "read");
  }
}

const tokenOf = (): Promise<string> => cluster.tokenOf("reader", ["frontcache"], "reader");

const first = await tokenOf();
report("a token of the first key", await read(first), "read");
let reading = new Reading(first);
await server.run({ signing: "second", accepted: ["second", "first"] });
const second = await tokenOf();
report("a token of the second key, as soon as it is issued", await read(second), "read");
await pause(2_000);
await reading.stop("a token of the first key while the API server restarted with both keys");
// As a kubelet renews the token of a pod: the member's own was signed by the first key, too.
await cluster.writeMemberKubeconfig(memberKubeconfig);

reading = new Reading(second);
await server.run({ signing: "second", accepted: ["second"] });
await pause(2_000);
await reading.stop("a token of the second key while the API server restarted without the first key");
const removedMs = performance.now();
let outcome = await read(first);
for (; outcome === "read" && performance.now() - removedMs < REMOVED_WITHIN_MS; outcome = await read(first)) await pause(2_000);
const seconds = Math.round((performance.now() - removedMs) / 1_000);
report(`a token of the removed key, refused ${seconds} s after the API server was ready`, outcome, "UNAUTHENTICATED");
report("a token of the second key after that", await read(second), "read");

await cluster.release();
report("the member ends", `${await member.stop()}`, "0");
process.exitCode = failures === 0 ? 0 : 1;
