import { once } from "node:events";
import { existsSync, lstatSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { eventually } from "@frontcache/proto/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { Authority, CertificateFiles } from "../security/authority.js";
import { frontcache } from "./command-line.js";
import { MemberInProcess } from "./member-in-process.js";
import { connectClient, type MemberOptions, MemberProcess, temporaryDirectory } from "./member-process.js";

const SIZE = (20 << 20) + 17;
const SEED = 3;
const URL = "s3://bucket/object";

describe("a member that listens on Unix sockets", () => {
  let origin: S3Emulator;
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;

  beforeAll(async () => {
    origin = await S3Emulator.start();
    directory = await temporaryDirectory();
    origin.putRamp("bucket", "object", SIZE, SEED);
  });
  afterAll(async () => {
    await origin?.close();
    await directory?.[Symbol.asyncDispose]();
  });

  const socket = (name: string): string => join(directory.path, name);
  const address = (name: string): string => `unix:${socket(name)}`;

  /** The options of a member with a cache of its own. */
  const options = (name: string, flags: readonly string[]): MemberOptions => ({
    endpoint: origin.endpoint,
    cacheDirectory: socket(name),
    flags,
  });

  /** Sends a GET through a Unix socket. */
  async function get(socketPath: string, path: string): Promise<{ status: number | undefined; body: Buffer }> {
    const sent = request({ socketPath, path }).end();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    const body: Buffer[] = [];
    for await (const chunk of response) body.push(chunk as Buffer);
    return { status: response.statusCode, body: Buffer.concat(body) };
  }

  it("alone serves clients over HTTP and gRPC, commands and S3 clients, and removes the sockets when it shuts down", async () => {
    const names = ["grpc.sock", "http.sock", "s3.sock"];
    const [grpc, http, s3] = names.map(address) as [string, string, string];
    const flags = ["--listen", grpc, "--http-listen", http, "--s3-listen", s3, "--socket-mode", "600"];
    await using member = await MemberInProcess.start(options("alone", flags));
    expect([member.grpc, member.http, member.s3]).toEqual([grpc, http, s3]);
    expect(names.map((name) => lstatSync(socket(name)).mode & 0o777)).toEqual([0o600, 0o600, 0o600]);
    const expected = rampBytes(0, SIZE, SEED);
    for (const transport of ["http", "grpc", "auto"] as const) {
      await using client = await connectClient({ endpoint: grpc, transport });
      expect((await client.readRange(URL, 0, SIZE)).equals(expected)).toBe(true);
      expect(client.members()).toMatchObject([{ grpcAddress: grpc, httpAddress: http }]);
    }
    const body = (await get(socket("s3.sock"), "/bucket/object")).body;
    expect(body.equals(expected)).toBe(true);
    const got = await frontcache(["get", URL, "--endpoint", grpc]);
    expect([got.stderr, got.exitCode, got.stdout.equals(expected)]).toEqual(["", 0, true]);
    const status = await frontcache(["status", "--json"], { FRONTCACHE_ENDPOINT: grpc });
    expect(JSON.parse(status.stdout.toString())).toMatchObject({ members: [{ state: "ready", grpcAddress: grpc }] });
    expect(await member.stop()).toBe(0);
    expect(names.filter((name) => existsSync(socket(name)))).toEqual([]);
  });

  it("and on ports serves clients on both, and replaces the sockets of a member that was killed", async () => {
    const flags = [
      "--listen",
      `127.0.0.1:0,${address("both.sock")}`,
      "--http-listen",
      `${address("both-http.sock")},127.0.0.1:0`,
      "--log-level",
      "debug",
    ];
    {
      await using killed = await MemberProcess.start(options("both", flags));
      await killed.kill();
      expect(existsSync(socket("both.sock"))).toBe(true);
    }
    await using member = await MemberInProcess.start(options("both", flags));
    const expected = rampBytes(5, 1_000, SEED);
    for (const endpoint of [member.grpc, address("both.sock")]) {
      for (const transport of ["auto", "http", "grpc"] as const) {
        await using client = await connectClient({ endpoint, transport });
        expect((await client.readRange(URL, 5, 1_000)).equals(expected)).toBe(true);
        expect(client.members()).toMatchObject([{ grpcAddress: member.grpc, httpAddress: member.http }]);
      }
    }
    // Three came through the port, and three through the sockets. The lines may come later than the bytes.
    await eventually(() => {
      const reads = member.log.filter(({ event, url }) => event === "request" && url === URL);
      const clients = reads.map(({ client }) => String(client).replace(/:\d+$/, ""));
      expect(clients.sort()).toEqual([...Array(3).fill("127.0.0.1"), ...Array(3).fill("unix")]);
    });
    expect((await get(socket("both-http.sock"), "/readyz")).status).toBe(200);
    const listening = member.log.find(({ event }) => event === "listening");
    expect(listening).toMatchObject({ sockets: [socket("both.sock"), socket("both-http.sock")] });
    const second = await frontcache(["serve", "--cache-dirs", `${socket("second")}:1GiB`, "--discovery", "none", ...flags]);
    expect([second.exitCode, second.stderr]).toEqual([1, expect.stringContaining("both.sock is in use by another process")]);
    expect((await get(socket("both-http.sock"), "/readyz")).status).toBe(200);
  });

  it("requires certificates and tokens there, too", async () => {
    const authority = await Authority.create("ours");
    const files = new CertificateFiles(directory.path);
    files.write(await authority.issue("localhost"), authority.pem);
    const tokens = socket("tokens");
    writeFileSync(tokens, "a-token-that-is-secret\n");
    const [grpc, http] = [address("tls.sock"), address("tls-http.sock")];
    const flags = ["--listen", grpc, "--http-listen", http, "--auth-token-file", tokens, ...files.flags];
    await using _member = await MemberInProcess.start(options("tls", flags));
    const tls = { ca: authority.pem, ...(await authority.issue("client")) };
    const expected = rampBytes(7, 100, SEED);
    for (const transport of ["http", "grpc"] as const) {
      const shown = { endpoint: grpc, tls, transport };
      await using client = await connectClient({ ...shown, token: "a-token-that-is-secret" });
      expect((await client.readRange(URL, 7, 100)).equals(expected)).toBe(true);
      await expect(connectClient({ ...shown, token: "another-token" })).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
      await expect(connectClient({ endpoint: grpc, transport, token: "a-token-that-is-secret" })).rejects.toThrow(
        "cannot connect",
      );
    }
  });

  it("must have ports if it has other members", async () => {
    const flags = ["--listen", address("static.sock"), "--members", "a=127.0.0.1:1,b=127.0.0.1:2", "--name", "a"];
    const { exitCode, stderr } = await frontcache(["serve", "--cache-dirs", `${socket("static")}:1GiB`, ...flags]);
    expect(exitCode).toBe(2);
    expect(stderr).toContain("--listen has only a Unix socket, to which other members cannot connect: add host:port");
  });

  it("is reported as missing by clients when it does not listen", async () => {
    const endpoint = address("nobody.sock");
    const { exitCode, stderr } = await frontcache(["stat", URL, "--endpoint", endpoint]);
    expect([exitCode, stderr]).toEqual([1, `frontcache: cannot connect to ${endpoint}: there is no such socket\n`]);
  });
});
