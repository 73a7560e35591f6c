import { execFile } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { Authority } from "../security/authority.js";
import { frontcache } from "./command-line.js";
import { PROGRAM, temporaryDirectory } from "./member-process.js";

describe("a command line", () => {
  it.concurrent.each<[string, string[], RegExp]>([
    ["without a command", [], /frontcache: no command given; see --help\n$/],
    ["with an invalid setting", ["serve", "--fill", "some"], /^frontcache: --fill: "some" is not a known value: [^\n]*\n$/],
    ["with an invalid URL", ["stat", "bucket/key"], /^frontcache: "bucket\/key" is not an object's URL: [^\n]*\n$/],
  ])("%s prints one line and exits with 2", async (_, args, line) => {
    const { exitCode, stdout, stderr } = await frontcache(args);
    expect({ exitCode, stdout: stdout.toString() }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toMatch(line);
  });

  it.concurrent("names the variable if a file from the environment cannot be read", async () => {
    const { stderr } = await frontcache(["stat", "s3://bucket/key"], { FRONTCACHE_TLS_CA: "/nofile" });
    expect(stderr).toBe("frontcache: FRONTCACHE_TLS_CA: cannot read /nofile (ENOENT); see --help\n");
  });

  it.concurrent("takes settings from the environment, and names the variable if one is wrong", async () => {
    const { exitCode, stderr } = await frontcache(["serve"], { FRONTCACHE_PURGE_INTERVAL: "soon", FRONTCACHE_FILL: "" });
    expect([exitCode, stderr]).toEqual([
      2,
      expect.stringMatching(/^frontcache: FRONTCACHE_PURGE_INTERVAL: "soon" is not a duration: /),
    ]);
  });

  it.each([["--help"], ["completion", "bash"], ["version"]])(
    "ends without an error if the consumer of %s closes the pipe",
    async (...args) => {
      const { exitCode, stderr } = await frontcache(args, {}, undefined, ({ stdout }) => stdout?.destroy());
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    },
  );

  it("prints no deprecation warning of Node for TLS to an IP address (DEP0123)", async () => {
    await using directory = await temporaryDirectory();
    const authority = await Authority.create("ours");
    const ca = join(directory.path, "ca.crt");
    await writeFile(ca, authority.pem);
    const server = createTlsServer({ ...(await authority.issue("frontcache")), ALPNProtocols: ["h2"] });
    server.on("secureConnection", (socket) => void socket.on("error", () => {}).end("not gRPC"));
    await once(server.listen(0, "127.0.0.1"), "listening");
    const endpoint = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { exitCode, stderr } = await frontcache(["stat", "s3://bucket/key", "--endpoint", endpoint, "--tls-ca", ca]);
    expect([exitCode, stderr]).toEqual([
      1,
      expect.stringMatching(/^frontcache: cannot connect to [^\n]* does not speak gRPC[^\n]*\n$/),
    ]);
    server.close();
  });

  it.concurrent("reports the cause and exits with 1 if it cannot connect to the endpoint", async () => {
    const { exitCode, stderr } = await frontcache(["stat", "s3://bucket/key"], { FRONTCACHE_ENDPOINT: "127.0.0.1:1" });
    expect([exitCode, stderr]).toEqual([1, "frontcache: cannot connect to 127.0.0.1:1: connection refused\n"]);
  });

  it.concurrent.each(["SIGINT", "SIGTERM"] as const)(
    "ends immediately with exit code 130 after %s while it connects",
    async (signal) => {
      const silent = createServer().listen(0, "127.0.0.1");
      await once(silent, "listening");
      const endpoint = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
      const { exitCode, stderr } = await frontcache(["stat", "s3://bucket/key", "--endpoint", endpoint], {}, "", (child) =>
        silent.once("connection", (socket) => {
          socket.resume().on("error", () => {});
          child.kill(signal);
        }),
      );
      silent.close();
      expect([exitCode, stderr]).toEqual([130, "frontcache: interrupted\n"]);
    },
  );

  it.concurrent("prints help on standard output, with the exit codes", async () => {
    const { exitCode, stdout, stderr } = await frontcache(["--help"]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout.toString()).toContain("Exit codes: 0 done, 1 failed, 2 invalid usage, 3 no such object, 130 interrupted.");
  });
});

describe("the completion script of bash", () => {
  let script: Buffer;
  beforeAll(async () => {
    script = (await frontcache(["completion", "bash"])).stdout;
  });

  /** Returns bash's completions of a line's last word; `frontcache` is the tested program. */
  async function offered(...words: string[]): Promise<string[]> {
    const typed = words.map((word) => `'${word}'`).join(" ");
    const command = `frontcache() { '${process.execPath}' '${PROGRAM}' "$@"; }
      COMP_WORDS=(frontcache ${typed}) COMP_CWORD=${words.length}; _frontcache; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await promisify(execFile)("bash", ["--norc", "-euc", `${script}\n${command}`]);
    return stdout.split("\n").filter((line) => line !== "");
  }

  it.concurrent.each<[string[], string[]]>([
    [["sta"], ["stat", "status"]],
    [["--endpoint", "stat:1", "--json", "ev"], ["evict"]],
    [["get", "s3", ":", "//bucket/key", "--ra"], ["--range"]],
    [["serve", "--discovery", "k"], ["kubernetes"]],
    [
      ["serve", "--eviction", "=", ""],
      ["lru", "slru"],
    ],
    [
      ["completion", ""],
      ["bash", "zsh", "fish"],
    ],
    [["get", "-o", ""], []],
    [["get", "$(echo --range >&2)"], []],
  ])("offers for %j what fits", async (words, expected) => {
    expect(await offered(...words)).toEqual(expected);
  });
});
