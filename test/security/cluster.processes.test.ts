import { writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { namesOf } from "../e2e/addresses.js";
import { Cluster, type Surroundings } from "../e2e/cluster.js";
import { type Pods, staticPods } from "../e2e/cluster-pods.js";
import { frontcache } from "../e2e/command-line.js";
import { connectClient, temporaryDirectory } from "../e2e/member-process.js";
import { BLOCK_BYTES } from "../e2e/test-objects.js";
import { rampBytes } from "../emulators/s3.js";
import { Authority, CertificateFiles } from "./authority.js";

const [OLD, NEW] = ["old-secret-token-of-the-members", "new-secret-token-of-the-members"];

it("members and clients with mutual TLS and tokens read, forward and rotate both; no secret is logged", async () => {
  await using directory = await temporaryDirectory();
  const authority = await Authority.create("cluster");
  const files = new CertificateFiles(directory.path);
  files.write(await authority.issue("frontcache"), authority.pem);
  const tokens = join(directory.path, "tokens");
  writeFileSync(tokens, `${OLD}\n`);
  const security = [...files.flags, "--tls-server-name", "frontcache", "--auth-token-file", tokens];
  const flags = [...security, "--log-level", "debug", "--allow-bucket", "s3://bucket", "--allow-bucket", "s3://lake-*"];
  await using cluster = await Cluster.start({ names: namesOf(2), processes: ["cache-1"], flags, pods: withHttp });
  const [object] = cluster.put(1, 8);
  const client = await authority.issue("client");
  const tls = { ca: authority.pem, ...client, serverName: "frontcache" };
  const endpoint = cluster.addressOf("cache-0");
  const bytes = 8 * BLOCK_BYTES;
  const expected = rampBytes(0, bytes, object!.seed);

  for (const transport of ["http", "grpc"] as const) {
    await using reader = await connectClient({ endpoint, tls, token: OLD, transport });
    expect((await reader.readRange(object!.url, 0, bytes, object!.version)).equals(expected)).toBe(true);
    expect(reader.members()).toHaveLength(2);
  }
  expect(cluster.fetches.length - 8).toBeLessThanOrEqual(cluster.mostUnneeded);

  // The command line asks one member, which forwards reads of half of the blocks to the other one with its own certificate.
  const ca = join(directory.path, "ca.crt");
  const own = new CertificateFiles(await subdirectory(directory.path));
  own.write(client, authority.pem);
  const shown = ["--tls-ca", ca, "--tls-cert", own.cert, "--tls-key", own.key, "--tls-server-name", "frontcache"];
  const get = (env: Record<string, string>, url = object!.url) => frontcache(["get", url, "--endpoint", endpoint, ...shown], env);
  const got = await get({ FRONTCACHE_TOKEN: OLD });
  expect([got.stderr, got.exitCode, got.stdout.equals(expected)]).toEqual(["", 0, true]);
  const status = await frontcache(["status", "--json", "--endpoint", endpoint, ...shown], { FRONTCACHE_TOKEN: OLD });
  expect(JSON.parse(status.stdout.toString())).toMatchObject({ members: [{ state: "ready" }, { state: "ready" }] });
  const warmed = await frontcache(["warm", object!.url, "--json", "--endpoint", endpoint, ...shown], { FRONTCACHE_TOKEN: OLD });
  expect(JSON.parse(warmed.stdout.toString())).toMatchObject({ blocks: 8, cachedBytes: bytes, fetchedBytes: 0 });
  const refused = await get({ FRONTCACHE_TOKEN: "a-token-that-is-unknown" });
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toMatch(/missing or unknown token/);
  cluster.forget();
  const denied = await get({ FRONTCACHE_TOKEN: OLD }, "s3://other/key");
  expect(denied.stderr).toMatch(/s3:\/\/other\S*: access denied: the bucket is not served here/);
  expect(cluster.fetches).toEqual([]);

  // Members rotate their certificates while a client continues to read.
  let token = OLD;
  await using reader = await connectClient({ endpoint, tls, token: () => token });
  const read = () => reader.readRange(object!.url, 3 * BLOCK_BYTES - 10, 20, object!.version);
  writeFileSync(tokens, `${NEW}\n${OLD}\n`);
  const known = (shownToken: string) => async (): Promise<boolean> => {
    const answers = cluster.names.map((name) => connectClient({ endpoint: cluster.addressOf(name), tls, token: shownToken }));
    const connected = await Promise.allSettled(answers);
    for (const answer of connected) if (answer.status === "fulfilled") await answer.value.close();
    expect((await read()).equals(rampBytes(3 * BLOCK_BYTES - 10, 20, object!.seed))).toBe(true);
    return connected.every((answer) => answer.status === "fulfilled");
  };
  await expect.poll(known(NEW), { timeout: 90_000 }).toBe(true);
  token = NEW;
  writeFileSync(tokens, `${NEW}\n`);
  await expect.poll(known(OLD), { timeout: 90_000 }).toBe(false);
  await read();

  const logs = cluster.names.map((name) => JSON.stringify(cluster.member(name).log));
  const output = logs.join() + cluster.process("cache-1").stderr;
  const secrets = [OLD, NEW, "a-token-that-is-unknown", "PRIVATE KEY", client.key.split("\n")[1]!, "AWS4-HMAC"];
  for (const secret of secrets) expect(output + got.stderr + refused.stderr + denied.stderr).not.toContain(secret);
  expect(output).toContain('"event":"listening"');
});

/** Returns a static member list with HTTP listeners. */
async function withHttp({ places, port }: Surroundings): Promise<Pods> {
  const members = places.map(({ name, host }) => `${name}=${host}:${port}/${port + 1}`).join(",");
  return { ...staticPods(places, port), flagsOf: () => ["--discovery", "static", "--members", members] };
}

async function subdirectory(path: string): Promise<string> {
  return mkdtemp(join(path, "client-"));
}
