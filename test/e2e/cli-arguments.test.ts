import { describe, expect, it } from "vitest";
import { frontcache } from "./command-line.js";

describe("a command line", () => {
  it.concurrent.each<[string, string[], RegExp]>([
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
      "with wrong settings",
      ["serve", "--fill", "some", "--block-size", "1"],
      /^frontcache: --block-size: "1" is too small: write at least 1MiB; --fill: "some" is not known here: [^\n]*\n$/,
    ],
    [
      "with settings that don't fit together",
      ["serve", "--low-watermark", "99"],
      /^frontcache: --low-watermark 99 is not below [^\n]*\n$/,
    ],
    ["with an argument too many", ["serve", "now"], /^frontcache: too many arguments[^\n]*; see --help\n$/],
    ["without a URL", ["get"], /^frontcache: missing required argument 'url'; see --help\n$/],
    ["with a URL that is none", ["stat", "bucket/key"], /^frontcache: "bucket\/key" is not an object's URL: [^\n]*\n$/],
    [
      "with a range that is none",
      ["get", "s3://bucket/key", "--range", "5-4"],
      /^frontcache: --range: "5-4" is not a range: [^\n]*\n$/,
    ],
    [
      "with an endpoint that is none",
      ["get", "s3://bucket/key", "--endpoint", "8080"],
      /^frontcache: --endpoint: "8080" is not an address: [^\n]*\n$/,
    ],
    ["with a prefix of nothing", ["evict", "--prefix", ""], /^frontcache: "" begins no object's URL: [^\n]*\n$/],
  ])("%s ends with one line and exit code 2", async (_, args, line) => {
    const { exitCode, stdout, stderr } = await frontcache(args);
    expect({ exitCode, stdout: stdout.toString() }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toMatch(line);
  });

  it.concurrent("takes settings from the environment, and says so where they are wrong", async () => {
    const { exitCode, stderr } = await frontcache(["serve"], { FRONTCACHE_PURGE_INTERVAL: "soon", FRONTCACHE_FILL: "" });
    expect([exitCode, stderr]).toEqual([
      2,
      expect.stringMatching(/^frontcache: FRONTCACHE_PURGE_INTERVAL: "soon" is not a duration: /),
    ]);
  });

  it.concurrent("without a member to answer ends with what to do, and exit code 1", async () => {
    const { exitCode, stderr } = await frontcache(["stat", "s3://bucket/key"], { FRONTCACHE_ENDPOINT: "127.0.0.1:1" });
    const line = "frontcache: no member answers at 127.0.0.1:1: start one by frontcache serve, or name another by --endpoint\n";
    expect([exitCode, stderr]).toEqual([1, line]);
  });

  it.concurrent.each([["--help"], ["help", "serve"], ["get", "--help"], ["version"], ["--version"], ["version", "--json"]])(
    "that asks for words is answered on standard output: %s %s",
    async (...args) => {
      const { exitCode, stdout, stderr } = await frontcache(args.filter((arg) => arg !== undefined));
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      expect(stdout.length).toBeGreaterThan(5);
    },
  );

  it.concurrent("that asks for help learns the exit codes", async () => {
    expect((await frontcache(["--help"])).stdout.toString()).toContain("Exit codes: 0 done, 1 failed, 2 wrong use.");
  });
});
