import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { settingsTable } from "../testing/settings-table.js";
import { declarations, settingNames, variableOf } from "./declarations.js";
import { type GivenFlags, readSettings, SettingsError, unknownVariables } from "./settings.js";

const MiB = 1 << 20;

function problemsOf(flags: GivenFlags, environment: Record<string, string> = {}): readonly string[] {
  try {
    readSettings(flags, environment);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe("settings", () => {
  it("have the documented defaults", () => {
    expect(readSettings({}, {})).toEqual({
      listen: { tcp: { host: "::", port: 8080 } },
      httpListen: { tcp: { host: "::", port: 8081 } },
      socketMode: 0o660,
      s3Domain: [],
      cacheDirs: [{ path: "/tmp/frontcache" }],
      name: hostname(),
      advertise: undefined,
      discovery: "auto",
      members: [],
      label: "app=frontcache",
      namespace: undefined,
      kubeconfig: undefined,
      identity: "pod",
      unreadyGraceMs: 10_000,
      memberTimeoutMs: 1_000,
      leaveAfterMs: 5_000,
      blockBytes: 16 * MiB,
      fill: "auto",
      partBytes: 4 * MiB,
      fillMemoryBytes: 256 * MiB,
      fillParallelism: 4,
      forward: "auto",
      purgeIntervalMs: 10_000,
      highWatermark: 0.95,
      keepFree: 0.15,
      lowWatermark: 0.9,
      eviction: "slru",
      revalidateAfterMs: 60_000,
      negativeTtlMs: 1_000,
      staleIfError: true,
      verdictTtlMs: 60_000,
      writes: "off",
      teeWritesBytes: 64 * MiB,
      sigv2: false,
      s3ForcePathStyle: false,
      originClient: "auto",
      originMaxWaitMs: 5_000,
      hedge: true,
      maxConnections: 10_000,
      maxClientConnections: 4_000,
      maxReads: 8_000,
      maxClientReads: 2_000,
      slowReaderBytes: 256 * MiB,
      overloadMs: 1_000,
      sendfile: true,
      auditLog: "log",
      cacheBucket: [],
      replicas: 2,
      logLevel: "info",
    });
  });

  it("are frozen", () => {
    expect(Object.isFrozen(readSettings({}, {}))).toBe(true);
  });

  it("take a flag before the environment, and the environment before the default", () => {
    const environment = { FRONTCACHE_FILL: "whole", FRONTCACHE_NEGATIVE_TTL: "5s" };
    const settings = readSettings({ fill: "wanted" }, environment);
    expect([settings.fill, settings.negativeTtlMs, settings.revalidateAfterMs]).toEqual(["wanted", 5_000, 60_000]);
  });

  it("treat an empty variable as not set, and an empty flag as an empty value", () => {
    expect(readSettings({}, { FRONTCACHE_FILL: "", FRONTCACHE_MEMBERS: "", POD_NAME: "", POD_IP: "" }).fill).toBe("auto");
    expect(problemsOf({ fill: "" })).toEqual(['--fill: "" is not a known value: use auto, whole, wanted']);
    expect(readSettings({ members: "" }, { FRONTCACHE_MEMBERS: "a=h:1" }).members).toEqual([]);
  });

  it("accept 0 if it has a meaning", () => {
    const flags = { negativeTtlMs: "0", revalidateAfterMs: "0", unreadyGraceMs: "0", lowWatermark: "0" };
    expect(readSettings(flags, {})).toMatchObject({ negativeTtlMs: 0, revalidateAfterMs: 0, unreadyGraceMs: 0, lowWatermark: 0 });
  });

  it("limit the part size to the block size, so --block-size 1MiB works alone", () => {
    expect(readSettings({ blockBytes: "1MiB" }, {})).toMatchObject({ blockBytes: MiB, partBytes: MiB });
    expect(readSettings({ blockBytes: "2MiB", partBytes: "8MiB" }, {})).toMatchObject({ partBytes: 2 * MiB });
  });

  it.each(["blockBytes", "partBytes", "fillMemoryBytes", "fillParallelism", "purgeIntervalMs"] as const)(
    "reject 0 for %s",
    (name) => {
      expect(problemsOf({ [name]: "0" })).toHaveLength(1);
    },
  );

  it("take the name and address of a pod from its environment", () => {
    expect(readSettings({}, { POD_NAME: "cache-0", POD_IP: "10.0.0.7" })).toMatchObject({
      name: "cache-0",
      advertise: "10.0.0.7",
    });
    expect(readSettings({ name: "a", advertise: "b" }, { POD_NAME: "cache-0", POD_IP: "10.0.0.7" })).toMatchObject({
      name: "a",
      advertise: "b",
    });
  });

  it("report all invalid ones at once, each with its flag or variable, on one line", () => {
    const problems = problemsOf({ listen: "8080", fill: "some" }, { FRONTCACHE_PURGE_INTERVAL: "ten" });
    expect(problems.map((problem) => problem.split(":")[0])).toEqual(["--listen", "--fill", "FRONTCACHE_PURGE_INTERVAL"]);
    expect(new SettingsError(problems).message).not.toContain("\n");
  });

  it.each<[string, GivenFlags, string]>([
    ["low watermark not below high", { lowWatermark: "95" }, "--low-watermark 95 must be less than --high-watermark 95"],
    ["block size of a fraction", { blockBytes: "17.5MiB" }, "--block-size 17920KiB: use a multiple of 1MiB up to 1GiB"],
    ["block size beyond 1 GiB", { blockBytes: "2GiB" }, "--block-size 2GiB: use a multiple of 1MiB up to 1GiB"],
    ["part size of a fraction", { partBytes: "1.5MiB" }, "--part-size 1536KiB: use a multiple of 1MiB"],
    ["memory for one part", { fillMemoryBytes: "7MiB" }, "--fill-memory 7MiB is smaller than two parts: use at least 8MiB"],
    [
      "a volume for no block",
      { cacheDirs: "/a:15MiB" },
      "--cache-dirs /a:15MiB is smaller than one block of 16MiB: use a larger size",
    ],
    [
      "a share for no block",
      { cacheBucket: "thumbs:share=1MiB" },
      "--cache-bucket thumbs: its share is smaller than one block of 16MiB: use a larger share",
    ],
    [
      "a share of more than the volumes",
      { cacheBucket: "thumbs:share=3GiB", cacheDirs: "/a:1GiB,/b:1GiB" },
      "--cache-bucket thumbs: its share is larger than --cache-dirs, 2GiB: use a smaller share",
    ],
    [
      "pinned buckets that leave no space",
      { cacheBucket: "one:share=50%:pin,two:share=1GiB:pin,three:share=90%", cacheDirs: "/a:2GiB" },
      "--cache-bucket: pinned buckets have 100 % of --cache-dirs, more than --low-watermark 90: use smaller shares",
    ],
    ["static without members", { discovery: "static" }, "--discovery static requires --members"],
    ["members with none", { discovery: "none", members: "a=h:1" }, "--members cannot be used with --discovery none"],
    ["members without me", { members: "a=h:1", name: "b" }, "--members does not contain this member, b: add it, or set --name"],
  ])("are checked for conflicts: %s", (_, flags, problem) => {
    expect(problemsOf(flags)).toEqual([problem]);
  });
});

describe("an origins file", () => {
  const write = (content: string): string => {
    const path = join(mkdtempSync(join(tmpdir(), "frontcache-settings-")), "origins.yaml");
    writeFileSync(path, content);
    return path;
  };

  it("is read with the settings, and each problem begins with the flag or variable", () => {
    const path = write("origins: [{buckets: s3://a*, hedge: 1}, {buckets: gs://b*, port: 80}]");
    expect(problemsOf({}, { FRONTCACHE_ORIGINS: path })).toEqual([
      `FRONTCACHE_ORIGINS: ${path}: origins[0].hedge: "1" is not a boolean: use true or false`,
      expect.stringContaining(`FRONTCACHE_ORIGINS: ${path}: origins[1].port: unknown field`),
    ]);
    rmSync(dirname(path), { recursive: true });
  });

  it("must have its keys in the environment", () => {
    const keys = "{accessKeyId: LAKE_ID, secretAccessKey: LAKE_SECRET}";
    const origins = write(`origins: [{buckets: s3://lake, credentials: {keys: ${keys}}}]`);
    expect(problemsOf({ origins }, { LAKE_ID: "id" })).toEqual([
      "--origins: the environment variable LAKE_SECRET with a key of s3://lake is not set",
    ]);
    expect(problemsOf({ origins }, { LAKE_ID: "id", LAKE_SECRET: "secret" })).toEqual([]);
    rmSync(dirname(origins), { recursive: true });
  });
});

describe("cache directories", () => {
  const read = (cacheDirs: string) => readSettings({ cacheDirs }, {}).cacheDirs;

  it("have a size limit or fill their file system", () => {
    expect(read("/a,/b:200GiB")).toEqual([{ path: "/a" }, { path: "/b", limitBytes: 200 * 2 ** 30 }]);
    expect(read("cache")[0]!.path).toMatch(/^\/.*\/cache$/);
  });

  it.each(["", "/a,", ":1GiB", "/a:", "/a:0", "/a:many", "/a:b:1GiB", "/a,/a/"])("are rejected: %j", (cacheDirs) => {
    expect(problemsOf({ cacheDirs })).toHaveLength(1);
  });

  it.each([
    ["/a,/a/v1", "/a/v1 is inside /a"],
    ["/a/b/c:1GiB,/b,/a/b:1GiB", "/a/b/c is inside /a/b"],
    ["/,/a", "/a is inside /"],
  ])("are rejected if one is inside another: %s", (cacheDirs, problem) => {
    expect(problemsOf({ cacheDirs })).toEqual([`--cache-dirs: ${problem}: use separate directories`]);
    expect(read("/a,/ab,/b/a")).toHaveLength(3);
  });
});

describe("the environment", () => {
  it("is checked for names that look like settings but are not", () => {
    const environment = {
      FRONTCACHE_FILL: "auto",
      FRONTCACHE_FIL: "auto",
      FRONTCACHE_ENDPOINT: "localhost:8080",
      PATH: "/bin",
      FRONTCACHE_SERVICE_HOST: "10.0.0.1",
      FRONTCACHE_SERVICE_PORT_GRPC: "8080",
      FRONTCACHE_PORT: "tcp://10.0.0.1:8080",
      FRONTCACHE_PORT_8080_TCP_ADDR: "10.0.0.1",
      FRONTCACHE_HEADLESS_SERVICE_HOST: "10.0.0.2",
    };
    expect(unknownVariables(environment)).toEqual(["FRONTCACHE_FIL"]);
  });
});

describe("the declarations", () => {
  it("use each environment variable once", () => {
    expect(new Set(settingNames.map((name) => variableOf(declarations[name]))).size).toBe(settingNames.length);
    expect(variableOf(declarations.s3ForcePathStyle)).toBe("FRONTCACHE_S3_FORCE_PATH_STYLE");
  });

  it("have one table row each", () => {
    const rows = settingsTable().trimEnd().split("\n");
    expect(rows).toHaveLength(settingNames.length + 2);
    expect(rows).toContain(
      "| `--fill-parallelism` | `FRONTCACHE_FILL_PARALLELISM` | number | 4 | concurrent origin requests per fill |",
    );
    for (const line of rows) expect(line.replaceAll("\\|", "").split("|")).toHaveLength(7);
  });
});
