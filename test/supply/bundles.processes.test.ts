import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BUILT_PROGRAM, MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { rampBytes, S3Emulator } from "../emulators/s3.js";

const SIZE = 3 << 20;

/** A program as users write it: reads a whole object with each transport, and prints the digests. */
const PROGRAM = `
  import { createHash } from "node:crypto";
  import { CacheClient } from "@frontcache/client";
  const digests = [];
  for (const transport of ["http", "auto", "grpc"]) {
    const client = await CacheClient.connect({ endpoint: process.argv[2], transport, connectTimeoutMs: 60_000 });
    const bytes = await client.readRange("s3://bucket/object", 0, ${SIZE});
    digests.push(createHash("sha256").update(bytes).digest("hex"));
    await client.close();
  }
  console.log(digests.join(" "), typeof globalThis.require);
`;

let origin: S3Emulator;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let member: MemberProcess;
let digest: string;

beforeAll(async () => {
  origin = await S3Emulator.start();
  directory = await temporaryDirectory();
  member = await MemberProcess.start({
    endpoint: origin.endpoint,
    cacheDirectory: join(directory.path, "cache"),
    program: BUILT_PROGRAM,
  });
  origin.putRamp("bucket", "object", SIZE, 3);
  digest = createHash("sha256")
    .update(rampBytes(0, SIZE, 3))
    .digest("hex");
});

afterAll(async () => {
  expect(await member.stop()).toBe(0);
  await origin[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

/** Bundles the program into one file without any node_modules nearby, with the options of a typical user. */
async function bundle(format: "esm" | "cjs"): Promise<string> {
  const outfile = join(directory.path, `program.${format === "esm" ? "mjs" : "cjs"}`);
  const contents = format === "esm" ? PROGRAM : asFunction(PROGRAM);
  const stdin = { contents, resolveDir: import.meta.dirname, sourcefile: "program.js" };
  const { warnings } = await build({ stdin, outfile, bundle: true, platform: "node", format, logLevel: "silent" });
  expect(warnings.map(({ text }) => text)).toEqual([]);
  return outfile;
}

/** CommonJS has no top-level await. */
function asFunction(program: string): string {
  const imports = program.match(/^ *import .*$/gm)!.join("\n");
  return `${imports}\n(async () => {${program.replace(/^ *import .*$/gm, "")}})();`;
}

describe("a program that uses the client", () => {
  it.each(["esm", "cjs"] as const)("runs as a single %s file with every transport", async (format) => {
    const file = await bundle(format);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [file, member.grpc], { cwd: directory.path });
    expect(stderr).toBe("");
    expect(stdout.trim()).toBe(`${digest} ${digest} ${digest} undefined`);
  });

  it("loads grpc-js with the first call to a member, not before", async () => {
    const program = `
      import { createRequire } from "node:module";
      import { CacheClient } from "@frontcache/client";
      const isLoaded = () => Object.keys(createRequire(import.meta.url).cache).some((path) => path.includes("grpc-js"));
      const before = isLoaded();
      await (await CacheClient.connect({ endpoint: process.argv[1], connectTimeoutMs: 60_000 })).close();
      console.log(before, isLoaded());
    `;
    const args = ["--input-type=module", "--eval", program, member.grpc];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: import.meta.dirname });
    expect(stdout.trim()).toBe("false true");
  });
});
