import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { eventually } from "@frontcache/proto/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { commandsFor } from "../demo/commands.mjs";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { frontcache } from "./command-line.js";
import { MEMBER_TIMEOUT, MemberProcess, PROGRAM, temporaryDirectory } from "./member-process.js";

const MiB = 1 << 20;

let origin: S3Emulator;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let member: MemberProcess;

beforeAll(async () => {
  origin = await S3Emulator.start();
  directory = await temporaryDirectory();
  member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: join(directory.path, "cache") });
});

afterAll(async () => {
  await member?.stop();
  await origin?.close();
  await directory?.[Symbol.asyncDispose]();
});

afterEach(() => origin.faults.clear());

const ask = (...args: string[]) => frontcache(args, { FRONTCACHE_ENDPOINT: member.grpc });

describe("frontcache get", () => {
  const size = 20 * MiB + 3;
  const url = "s3://bucket/a file+%20.bin";
  beforeAll(() => origin.putRamp("bucket", "a file+%20.bin", size, 5));

  it.each<[string, string[], number, number]>([
    ["all of it", [], 0, size],
    ["a range", ["--range", "1000-2999"], 1_000, 2_000],
    ["from an offset", ["--range", "20971000-"], 20_971_000, size - 20_971_000],
    ["the last bytes", ["--range", "-7"], size - 7, 7],
    ["the last bytes of fewer", ["--range", "-99999999"], 0, size],
    ["a range past the end", ["--range", "20971520-99999999"], 20 * MiB, 3],
  ])("writes %s to standard output", async (_, flags, offset, length) => {
    const { exitCode, stdout, stderr } = await ask("get", url, ...flags);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout.equals(rampBytes(offset, length, 5))).toBe(true);
  });

  it("writes a file and leaves no other file in its directory", async () => {
    const path = join(directory.path, "copy");
    expect(await ask("get", url, "-o", path)).toMatchObject({ exitCode: 0, stdout: Buffer.alloc(0), stderr: "" });
    expect((await readFile(path)).equals(rampBytes(0, size, 5))).toBe(true);
    expect(await readdir(directory.path)).toEqual(["cache", "copy"]);
  });

  it.each([
    ["no such object", ["s3://bucket/none"], 3, /^frontcache: [^\n]*s3:\/\/bucket\/none[^\n]*\n$/],
    ["an offset past the end", [url, "--range", "20971523-"], 1, /^frontcache: [^\n]*offset 20971523[^\n]*\n$/],
    ["another version", [url, "--object-version", "other"], 1, /^frontcache: [^\n]*other[^\n]*\n$/],
  ])("prints one line and exits with the documented code for %s", async (_, args, code, line) => {
    const path = join(directory.path, "none");
    const { exitCode, stderr } = await ask("get", ...args, "-o", path);
    expect([exitCode, stderr]).toEqual([code, expect.stringMatching(line)]);
    expect(await readdir(directory.path)).not.toContain("none");
  });

  it("resumes an interrupted download, unless the object was overwritten", async () => {
    const path = join(directory.path, "resumed");
    origin.putRamp("bucket", "resumed", size, 6);
    // Its second block never arrives.
    origin.faults.place({
      when: ({ key, headers }) => key === "resumed" && /bytes=1[6-9]/.test(headers.range ?? ""),
      error: { status: 403, code: "AccessDenied" },
    });
    const broken = await ask("get", "s3://bucket/resumed", "-o", path);
    expect([broken.exitCode, broken.stderr]).toEqual([1, expect.stringContaining("resumed.part: repeat the command to resume")]);
    origin.faults.clear();
    const again = await ask("get", "s3://bucket/resumed", "-o", path, "--json");
    expect(JSON.parse(again.stdout.toString())).toMatchObject({ bytes: size, resumedBytes: 16 * MiB, file: path });
    expect((await readFile(path)).equals(rampBytes(0, size, 6))).toBe(true);
    expect((await readdir(directory.path)).filter((name) => name.includes("resumed"))).toEqual(["resumed"]);
  });

  it("ends without an error when the consumer of its output closes the pipe", async () => {
    const args = [PROGRAM, "get", url, "--endpoint", member.grpc, "--member-timeout", MEMBER_TIMEOUT];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (text) => {
      stderr += text;
    });
    await once(child.stdout, "readable");
    child.stdout.destroy();
    const [exitCode] = await once(child, "close");
    expect([exitCode, stderr]).toEqual([0, ""]);
  });
});

describe("frontcache stat and evict", () => {
  it("show and evict an object, as lines or as JSON", async () => {
    const version = origin.putRamp("bucket", "some", 3 * MiB, 1);
    expect((await ask("get", "s3://bucket/some")).exitCode).toBe(0);
    const lines = (await ask("stat", "s3://bucket/some")).stdout.toString().split("\n");
    expect(lines).toContain("url:          s3://bucket/some");
    expect(lines).toContain(`version:      ${version}`);
    expect(lines).toContain(`objectSize:   ${3 * MiB}`);
    const evicted = await ask("evict", "s3://bucket/so", "--prefix", "--json");
    expect(JSON.parse(evicted.stdout.toString())).toEqual({ blocks: 1, bytes: expect.any(Number) });
    const after = JSON.parse((await ask("stat", "s3://bucket/some", "--json")).stdout.toString());
    expect(after).toMatchObject({ url: "s3://bucket/some", version, objectSize: 3 * MiB, cachedBytes: 0 });
  });
});

describe("npm run demo -- --keep", () => {
  it("prints commands that work", async () => {
    origin.putRamp("demo", "tables/events.parquet", 1 * MiB, 5);
    const commands = commandsFor(member, "s3://demo/tables/events.parquet");
    for (const args of commands.frontcache) {
      const [after, before] = [await frontcache(args), await frontcache([...args.slice(-2), ...args.slice(0, -2)])];
      expect(after).toMatchObject({ exitCode: 0, stderr: "" });
      expect(before).toMatchObject({ exitCode: 0, stderr: "" });
    }
    const answer = await fetch(commands.curl.at(-1)!, { headers: { range: "bytes=0-99" } });
    expect(Buffer.from(await answer.arrayBuffer()).equals(rampBytes(0, 100, 5))).toBe(true);
    expect((await fetch(commands.statusPage)).headers.get("content-type")).toMatch(/^text\/html/);
  });
});

describe("frontcache bench", () => {
  beforeAll(() => {
    origin.putRamp("bucket", "measured", 3 * MiB + 5, 1);
    origin.putRamp("bucket", "empty", 0, 1);
  });

  it("shows the results of its reads, as lines or as JSON", async () => {
    const args = ["bench", "s3://bucket/measured", "--size", "64KiB", "--concurrency", "4", "--duration", "200ms"];
    const { exitCode, stdout, stderr } = await ask(...args, "--json");
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const report = JSON.parse(stdout.toString());
    expect(report).toMatchObject({ objects: 1, members: 1, size: "64KiB", concurrency: 4, errors: 0 });
    expect(report.reads).toBeGreaterThanOrEqual(4);
    expect((await ask(...args)).stdout.toString()).toMatch(/^gigabytesPerSecond: [\d.e-]+\nreadsPerSecond: {5}[\d.]+\np50Ms: /m);
  });

  it("prints one line and exits with 1 if an object is empty", async () => {
    const { exitCode, stderr } = await ask("bench", "s3://bucket/empty", "--duration", "100ms");
    expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/^frontcache: s3:\/\/bucket\/empty is empty[^\n]*\n$/)]);
  });
});

describe("frontcache serve", () => {
  it("prints one line and exits with 1 if its port or directory is in use", async () => {
    const other = join(directory.path, "other");
    const port = await frontcache(["serve", "--listen", member.grpc, "--cache-dirs", other]);
    expect([port.exitCode, port.stderr]).toEqual([
      1,
      `frontcache: ${member.grpc} is in use by another process: set another address with --listen\n`,
    ]);
    const anyPorts = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"];
    const taken = await frontcache(["serve", ...anyPorts, "--cache-dirs", join(directory.path, "cache")]);
    expect([taken.exitCode, taken.stderr]).toEqual([1, expect.stringMatching(/^frontcache: [^\n]*cache is in use[^\n]*\n$/)]);
  });

  it("warns about variables that look like settings", async () => {
    const started = await MemberProcess.start({
      endpoint: origin.endpoint,
      cacheDirectory: join(directory.path, "warned"),
      env: { FRONTCACHE_BLOCK_SIZES: "1MiB", FRONTCACHE_SERVICE_HOST: "10.0.0.1" },
    });
    expect(started.log.filter(({ level }) => level === "warn")).toEqual([
      expect.objectContaining({ event: "unknown-setting", variable: "FRONTCACHE_BLOCK_SIZES" }),
    ]);
    expect(await started.stop()).toBe(0);
  });

  it("logs its version and effective settings, and `listening` at any log level", async () => {
    const startWith = (level: string): Promise<MemberProcess> =>
      MemberProcess.start({
        endpoint: origin.endpoint,
        cacheDirectory: join(directory.path, `log-${level}`),
        flags: ["--log-level", level, "--revalidate-after", "never"],
      });
    await using loud = await startWith("info");
    expect(loud.log[0]).toMatchObject({
      event: "starting",
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      settings: { logLevel: "info", revalidateAfterMs: "never", blockBytes: 16 * MiB },
    });
    for (const line of loud.log) expect(line).toMatchObject({ event: expect.any(String), msg: expect.any(String) });
    await using quiet = await startWith("silent");
    expect(quiet.log.map(({ event }) => event)).toEqual(["listening"]);
  });

  it("ends at the first signal if a volume hangs at the start", async () => {
    const hang = [
      'import fs from "node:fs/promises"',
      'import { syncBuiltinESMExports } from "node:module"',
      'fs.mkdir = () => { process.stderr.write("hangs\\n"); return new Promise(() => setInterval(() => {}, 1e6)); }',
      "syncBuiltinESMExports()",
    ].join(";");
    const child = spawn(
      process.execPath,
      [PROGRAM, "serve", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--cache-dirs", join(directory.path, "hung")],
      {
        env: { ...process.env, NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hang)}` },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    await once(child.stderr, "data");
    child.kill("SIGTERM");
    const [[exitCode], lines] = await Promise.all([once(child, "exit"), child.stdout.toArray()]);
    expect(exitCode).toBe(0);
    const events = Buffer.concat(lines as Buffer[])
      .toString()
      .trim()
      .split("\n");
    const names = events.map((line) => (JSON.parse(line) as { event: string }).event);
    expect(names).toEqual(expect.arrayContaining(["starting", "stopping", "start-abandoned", "stopped"]));
  });

  /** Starts a member and a read of an object, whose duration depends on the origin's faults. */
  async function reading(
    key: string,
    bytes: number,
  ): Promise<{ started: MemberProcess; read: ChildProcessByStdio<null, Readable, Readable> }> {
    const started = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: join(directory.path, key) });
    origin.putRamp("bucket", key, bytes, 2);
    const args = [PROGRAM, "get", `s3://bucket/${key}`, "--endpoint", started.grpc, "--member-timeout", MEMBER_TIMEOUT];
    const read = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    await once(read.stdout, "readable");
    return { started, read };
  }

  it.each(["SIGTERM", "SIGINT"] as const)("lets a running read finish after %s and exits with 0", async (signal) => {
    origin.faults.place({ bytesPerSecond: 8 * MiB });
    const { started, read } = await reading(signal, 8 * MiB);
    const stopped = started.stop(signal);
    let bytes = 0;
    for await (const chunk of read.stdout) bytes += (chunk as Buffer).length;
    expect([bytes, await stopped]).toEqual([8 * MiB, 0]);
  });

  it("exits immediately with 1 after a second signal", async () => {
    // The read takes longer than any test.
    origin.faults.place({ bytesPerSecond: 1 * MiB });
    const { started, read } = await reading("impatient", 1_000 * MiB);
    const stopped = started.stop();
    await eventually(() => expect(started.log.map(({ event }) => event)).toContain("stopping"));
    started.stop();
    expect(await stopped).toBe(1);
    read.stdout.resume();
    expect((await once(read, "close"))[0]).toBe(1);
  });

  it("logs an uncaught exception and exits", async () => {
    const trigger = 'process.on("SIGUSR2",()=>Promise.reject(new Error("a defect")))';
    const started = await MemberProcess.start({
      endpoint: origin.endpoint,
      cacheDirectory: join(directory.path, "defect"),
      env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(trigger)}` },
    });
    expect(await started.stop("SIGUSR2")).toBe(1);
    expect(started.log.at(-1)).toMatchObject({
      level: "error",
      event: "unhandled-rejection",
      msg: expect.stringContaining("a defect"),
    });
  });
});
