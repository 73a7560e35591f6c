import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { connectClient, MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { argumentsOf, copied, copyInto, stages } from "./dockerfile.js";
import { manifestOf, packageFolders, root } from "./manifests.js";

const MiB = 1 << 20;
const WANTED = process.env.FRONTCACHE_FRESH_CLONE === "1";
const INSTALL = ["--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"];

/** Runs a program to its end; returns its output. NODE_ENV is removed, because it would skip development dependencies. */
function run(cwd: string, program: string, ...args: string[]): string {
  const { NODE_ENV: _, ...inherited } = process.env;
  const env = { ...inherited, npm_config_loglevel: "error" };
  return execFileSync(program, args, { cwd, env, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}

/** Starts the program as a member of the S3 emulator; checks cold, hot and mapped reads, reflection and the status page. */
async function expectWorkingCache(program: string, cacheDirectory: string): Promise<void> {
  await using origin = await S3Emulator.start();
  await using member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory, program });
  await using client = await connectClient({ endpoint: member.grpc });
  const version = origin.putRamp("bucket", "object", 20 * MiB, 1);
  const read = async (): Promise<void> => {
    const bytes = await client.readRange("s3://bucket/object", 0, 20 * MiB, version);
    expect(bytes.equals(rampBytes(0, 20 * MiB, 1))).toBe(true);
  };
  await read();
  const page = async (path: string): Promise<string> => (await fetch(`http://${member.http}${path}`)).text();
  const mapped = async (): Promise<number> => {
    await read();
    return Number(/^frontcache_mappings\S* (\d+)/m.exec(await page("/metrics"))?.[1] ?? 0);
  };
  await expect.poll(mapped, { timeout: 90_000 }).toBeGreaterThan(0);
  expect(await page("/")).toContain("<html");
  expect(await member.stop()).toBe(0);
}

describe.skipIf(!WANTED)(
  `a fresh clone${WANTED ? "" : " (skipped: FRONTCACHE_FRESH_CLONE is not 1)"}`,
  { timeout: 300_000 },
  () => {
    let clone: string;
    let directory: string;

    beforeAll(async () => {
      const temporary = await temporaryDirectory();
      directory = temporary.path;
      clone = join(directory, "clone");
      const files = run(root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0").filter(Boolean);
      for (const file of files) cpSync(join(root, file), join(clone, file));
      run(clone, "npm", "ci", ...INSTALL);
      run(clone, "npm", "run", "build");
      return () => temporary[Symbol.asyncDispose]();
    }, 300_000);

    it("works after npm ci --ignore-scripts and npm run build", async () => {
      expect(run(clone, "npx", "frontcache", "version", "--json")).toContain(manifestOf("server").version);
      await expectWorkingCache(join(clone, "server", "bin", "frontcache.js"), join(directory, "cache-of-clone"));
    });

    it("produces packages that work on their own", async () => {
      const packages = packageFolders.flatMap((folder) => ["--workspace", folder]);
      run(clone, "npm", "pack", ...packages, "--pack-destination", directory);
      const tarballs = readdirSync(directory).filter((name) => name.endsWith(".tgz"));
      expect(tarballs).toHaveLength(packageFolders.length);
      const empty = join(directory, "empty");
      mkdirSync(empty);
      writeFileSync(join(empty, "package.json"), '{"private":true}');
      run(empty, "npm", "install", ...INSTALL, ...tarballs.map((name) => join(directory, name)));
      expect(run(empty, "npx", "frontcache", "version", "--json")).toContain(manifestOf("server").version);
      const uses = 'import { CacheClient } from "@frontcache/client"; console.log(typeof CacheClient.connect);';
      expect(run(empty, process.execPath, "--input-type=module", "--eval", uses)).toBe("function\n");
      const program = join(empty, "node_modules", "@frontcache", "server", "bin", "frontcache.js");
      await expectWorkingCache(program, join(directory, "cache-of-packages"));
    });

    it("builds the files of the image with the steps of its Dockerfile, and they work", async () => {
      const [build, final] = stages();
      const app = join(directory, "app");
      mkdirSync(app);
      for (const { name, rest } of build!) {
        const files = name === "COPY" ? copied(rest) : undefined;
        if (files !== undefined) copyInto(app, files);
        if (name === "RUN") run(app, "sh", "-c", rest);
      }
      const [entry] = argumentsOf(final!, "ENTRYPOINT").map((rest) => JSON.parse(rest) as string[]);
      expect(readdirSync(join(app, "node_modules"))).not.toContain("vitest");
      await expectWorkingCache(join(app, entry![1]!.replace("/app/", "")), join(directory, "cache-of-image"));
    });
  },
);
