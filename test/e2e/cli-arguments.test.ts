import { runCommand } from "@frontcache/server/testing";
import { afterEach, describe, expect, it, vi } from "vitest";

afterEach(() => vi.restoreAllMocks());

/** Runs a command in this process; resolves with its exit code and what it printed. */
async function run(args: readonly string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const printed = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    vi.spyOn(process[stream], "write").mockImplementation((text) => {
      printed[stream] += text;
      return true;
    });
  }
  return { exitCode: await runCommand(args), ...printed };
}

// That a process prints these lines and ends with these codes: cli-arguments.processes.test.ts.
describe("a command line", () => {
  it.each<[string, string[], RegExp]>([
    ["without a command", [], /frontcache: no command given; see --help\n$/],
    ["with an unknown command", ["surve"], /^frontcache: unknown command 'surve' \(Did you mean serve\?\); see --help\n$/],
    [
      "with an unknown flag",
      ["serve", "--fil", "auto"],
      /^frontcache: unknown option '--fil' \(Did you mean --fill\?\); see --help\n$/,
    ],
    [
      "with a flag without its value",
      ["serve", "--fill"],
      /^frontcache: option '--fill <auto\|whole\|wanted>' argument missing; see --help\n$/,
    ],
    [
      "with invalid settings",
      ["serve", "--fill", "some", "--block-size", "1"],
      /^frontcache: --block-size: "1" is too small: use at least 1MiB; --fill: "some" is not a known value: [^\n]*\n$/,
    ],
    [
      "with conflicting settings",
      ["serve", "--low-watermark", "99"],
      /^frontcache: --low-watermark 99 must be less than [^\n]*\n$/,
    ],
    ["with an unexpected argument", ["serve", "now"], /^frontcache: too many arguments[^\n]*; see --help\n$/],
    ["without a URL", ["get"], /^frontcache: missing required argument 'url'; see --help\n$/],
    [
      "with an invalid timeout",
      ["stat", "s3://bucket/key", "--member-timeout", "soon"],
      /^frontcache: --member-timeout: "soon" is not a duration: [^\n]*\n$/,
    ],
    ["with an invalid URL", ["stat", "bucket/key"], /^frontcache: "bucket\/key" is not an object's URL: [^\n]*\n$/],
    [
      "with an invalid range",
      ["get", "s3://bucket/key", "--range", "5-4"],
      /^frontcache: --range: "5-4" is not a range: [^\n]*\n$/,
    ],
    [
      "with an invalid size",
      ["bench", "s3://bucket/key", "--size", "some"],
      /^frontcache: --size: "some" is not a size: [^\n]*\n$/,
    ],
    [
      "with an invalid endpoint",
      ["get", "s3://bucket/key", "--endpoint", "8080"],
      /^frontcache: --endpoint: "8080" is not an address: [^\n]*\n$/,
    ],
    ["with an invalid bucket", ["warm", "s3://*"], /^frontcache: "s3:\/\/" has no valid bucket: [^\n]*\n$/],
    [
      "with a concurrency that is too high",
      ["warm", "s3://bucket/", "--concurrency", "300"],
      /^frontcache: --concurrency: "300" is not [^\n]*\n$/,
    ],
    ["with an invalid interval", ["status", "--watch", "soon"], /^frontcache: --watch: "soon" is not a duration: [^\n]*\n$/],
    ["with an unknown shell", ["completion", "cmd"], /^frontcache: command-argument value 'cmd' is invalid [^\n]*\n$/],
    ["with an empty prefix", ["evict", "--prefix", ""], /^frontcache: "" begins no object's URL: [^\n]*\n$/],
  ])("%s prints one line and exits with 2", async (_, args, line) => {
    const { exitCode, stdout, stderr } = await run(args);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toMatch(line);
  });

  it.each<[string, string[], RegExp]>([
    [
      "names --tls-ca if the flag was used",
      ["--tls-ca", "/nofile", "stat", "s3://bucket/key"],
      /^frontcache: --tls-ca: cannot read \/nofile \(ENOENT\); see --help\n$/,
    ],
    [
      "rejects a global option that the command does not have",
      ["--endpoint", "127.0.0.1:1", "version"],
      /^frontcache: --endpoint is not an option of version; see --help\n$/,
    ],
    [
      "prefers the option after the command",
      ["--endpoint", "127.0.0.1:1", "stat", "s3://bucket/key", "--endpoint", "8080"],
      /^frontcache: --endpoint: "8080" is not an address: /,
    ],
  ])("%s", async (_, args, line) => {
    expect(await run(args)).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(line) });
  });

  it("lists commands, then global options in --help and accepts these before the command", async () => {
    expect((await run(["--help"])).stdout).toMatch(/ serve [\s\S]*--endpoint <host:port\|unix:\/path>[\s\S]*--tls-ca <path>/);
    const { exitCode, stdout } = await run(["--json", "version"]);
    expect([exitCode, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ node: process.versions.node })]);
  });

  it.each([["--help"], ["serve", "--help"], ["status", "--help"]])("wraps help to 80 columns: %s %s", async (...args) => {
    const { stdout } = await run(args.filter((arg) => arg !== undefined));
    expect(
      stdout.split("\n").filter((line) => line.length > 80 && line.startsWith(" ") && !/^ {2}frontcache /.test(line)),
    ).toEqual([]);
  });

  it.each([["help", "serve"], ["get", "--help"], ["--version"], ["version", "--json"]])(
    "prints help on standard output: %s %s",
    async (...args) => {
      const { exitCode, stdout, stderr } = await run(args.filter((arg) => arg !== undefined));
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      expect(stdout.length).toBeGreaterThan(5);
    },
  );

  it("reports its failure as JSON with --json", async () => {
    const { exitCode, stderr } = await run(["stat", "bucket/key", "--json"]);
    expect([exitCode, JSON.parse(stderr)]).toEqual([
      2,
      { error: { code: "USAGE", message: expect.stringContaining("bucket/key") } },
    ]);
  });
});
