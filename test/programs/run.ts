// npm run programs [-- name ...]: programs as users write them, compiled in strict mode against the packed client, and run against a
// member. What cannot be installed here is skipped by name.

import { once } from "node:events";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { BUILT_PROGRAM, MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { S3Emulator } from "../emulators/s3.js";
import { run as runProgram } from "../ended-program.js";
import { newPage, noBrowser, openBrowser } from "../status/browser.js";

const ROOT = join(import.meta.dirname, "..", "..");
const OBJECT_BYTES = 5_000_000;

/** The packages of the programs, in pinned versions. */
const PACKAGES = [
  "fastify@5.12.8",
  "hono@4.13.19",
  "hyparquet@1.33.0",
  "hyparquet-writer@0.17.0",
  "apache-arrow@21.2.0",
  "@nestjs/common@12.5.1",
  "@nestjs/core@12.5.1",
  "reflect-metadata@0.2.2",
  "rxjs@7.8.2",
  "webpack@5.113.0",
  "rollup@4.68.8",
  "@rollup/plugin-node-resolve@16.0.3",
  "@rollup/plugin-commonjs@29.0.3",
  "@rollup/plugin-json@6.1.0",
  "@types/node@20.19.43",
];
/** What checks that the package's declarations and entry points suit those who install it. */
const PACKAGE_CHECKS = {
  publint: { version: "publint@0.3.25", args: ["run", "--strict"] },
  // The package is ESM for Node 20 and later. CommonJS loads it by `import()` or a bundler, as the other programs do.
  attw: { version: "@arethetypeswrong/cli@0.18.5", args: ["--profile", "esm-only"] },
} as const;
/** Runtimes that are not available for every platform. */
const RUNTIMES = { bun: "bun@1.4.5", deno: "deno@2.9.6" } as const;

const TSCONFIG = {
  compilerOptions: {
    strict: true,
    target: "es2022",
    lib: ["es2024", "esnext.disposable", "dom"],
    module: "nodenext",
    moduleResolution: "nodenext",
    experimentalDecorators: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    // Other packages' declarations are not this project's concern.
    skipLibCheck: true,
    types: ["node"],
    outDir: "out",
  },
  include: ["*.mts"],
};

const WEBPACK = `
module.exports = {
  mode: "production", target: "node", entry: "./out/lambda.mjs",
  output: { path: __dirname, filename: "webpack-bundle.cjs", library: { type: "commonjs2" } },
};`;

/** How a step ended: rightly, or with what it printed. */
interface Outcome {
  readonly isRight: boolean;
  readonly output: string;
}

async function run(cwd: string, command: string, args: readonly string[], expected?: string): Promise<Outcome> {
  try {
    const { code, stdout, output } = await runProgram(command, args, { cwd });
    const isRight = code === 0 && (expected === undefined || stdout.trim() === expected);
    return { isRight, output: `${output}\nended with ${code}` };
  } catch (error) {
    return { isRight: false, output: String(error) };
  }
}

/** A step that the rest needs. */
async function must(step: string, ending: Promise<Outcome>): Promise<void> {
  const { isRight, output } = await ending;
  if (!isRight) throw new Error(`${step} failed: ${output}`);
}

const requested = process.argv.slice(2);
let failed = false;

/** Runs a program, unless the command line names others. */
async function check(name: string, program: () => Promise<Outcome>): Promise<void> {
  if (requested.length > 0 && !requested.includes(name)) return;
  const { isRight, output } = await program();
  console.log(`${isRight ? "passed " : "FAILED "} ${name}`);
  if (isRight) return;
  failed = true;
  console.log(output);
}

await using directory = await temporaryDirectory();
const at = directory.path;
const npm = (...args: string[]): Promise<Outcome> => run(at, "npm", [...args, "--no-audit", "--no-fund", "--silent"]);
await writeFile(join(at, "package.json"), JSON.stringify({ private: true, type: "module" }));
for (const name of ["proto", "client"]) {
  await must("npm pack", run(join(ROOT, name), "npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", at]));
}
const packed = (await readdir(at)).filter((file) => file.endsWith(".tgz")).map((file) => `./${file}`);
const installed = await npm("install", ...packed, ...PACKAGES);
if (!installed.isRight) {
  console.log(`skipped all programs: their packages cannot be installed here: ${installed.output}`);
  await directory[Symbol.asyncDispose]();
  process.exit(0);
}
await cp(join(import.meta.dirname, "programs"), at, { recursive: true });
await writeFile(join(at, "tsconfig.json"), JSON.stringify(TSCONFIG));
await writeFile(join(at, "webpack.config.cjs"), WEBPACK);
await must(
  "compiling in strict mode",
  run(at, process.execPath, [join(ROOT, "node_modules", "typescript", "bin", "tsc"), "-p", "."]),
);
await mkdir(join(at, "cache"));

await using origin = await S3Emulator.start();
await using member = await MemberProcess.start({
  endpoint: origin.endpoint,
  cacheDirectory: join(at, "cache"),
  program: BUILT_PROGRAM,
  flags: ["--cors-origin", "*"],
});
origin.putRamp("bucket", "object", OBJECT_BYTES, 3);
await must("writing tables", run(at, process.execPath, ["out/tables.mjs"], "ok"));
for (const table of ["table.parquet", "table.arrow"]) origin.put("bucket", table, await readFile(join(at, table)));

for (const name of ["plain", "fastify", "hono", "nest", "hyparquet", "arrow", "worker-pool", "data-loader"]) {
  await check(name, () => run(at, process.execPath, [`out/${name}.mjs`, member.grpc], "ok"));
}

const bundlers = {
  esbuild: [
    join(ROOT, "node_modules", "esbuild", "bin", "esbuild"),
    ...["out/lambda.mjs", "--bundle", "--platform=node", "--format=cjs", "--outfile=esbuild-bundle.cjs", "--log-level=error"],
  ],
  webpack: [
    "--eval",
    "require('webpack')(require('./webpack.config.cjs'), (e, s) => { if (e || s.hasErrors()) throw e ?? new Error(s.toString()) })",
  ],
  rollup: [
    ...["node_modules/rollup/dist/bin/rollup", "out/lambda.mjs", "--format", "cjs", "--file", "rollup-bundle.cjs", "--silent"],
    ...["--plugin", "node-resolve={preferBuiltins:true}", "--plugin", "commonjs", "--plugin", "json"],
    ...["--no-dynamicImportInCjs", "--inlineDynamicImports"],
  ],
};
for (const [bundler, args] of Object.entries(bundlers)) {
  await check(`lambda by ${bundler}`, async () => {
    const bundled = await run(
      at,
      bundler === "esbuild" ? args[0]! : process.execPath,
      bundler === "esbuild" ? args.slice(1) : args,
    );
    if (!bundled.isRight) return bundled;
    const event = JSON.stringify({ endpoint: member.grpc, url: "s3://bucket/object", offset: 0, length: 3 });
    const call = `require("./${bundler}-bundle.cjs").handler(${event}).then((text) => { console.log(text); process.exit(); })`;
    return run(at, process.execPath, ["--input-type=commonjs", "--eval", call], Buffer.from([3, 4, 5]).toString("base64"));
  });
}

async function browserPage(): Promise<Outcome> {
  const script = await readFile(join(at, "out", "browser.mjs"), "utf8");
  const server = createServer((_, response) => response.end(`<!doctype html><script type="module">${script}</script>`));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const browser = await openBrowser();
  try {
    const page = await newPage(browser);
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/?endpoint=${member.http}`);
    await page.waitForFunction("document.title !== ''");
    const title = await page.title();
    return { isRight: title === "ok", output: title };
  } finally {
    await browser.close();
    server.closeAllConnections();
    server.close();
  }
}
if (noBrowser === undefined) await check("browser", browserPage);
else console.log(`skipped browser: ${noBrowser}`);

const packedClient = packed.find((file) => file.includes("client"))!;
for (const [name, { version, args }] of Object.entries(PACKAGE_CHECKS)) {
  const { isRight } = await npm("install", version);
  if (isRight) await check(name, () => run(at, join(at, "node_modules", ".bin", name), [...args, packedClient]));
  else console.log(`skipped ${name}: it cannot be installed here`);
}

for (const [name, version] of Object.entries(RUNTIMES)) {
  const { isRight } = await npm("install", version);
  const works = isRight && (await run(at, join(at, "node_modules", ".bin", name), ["--version"])).isRight;
  const args = name === "deno" ? ["run", "--allow-all", "--no-check"] : ["run"];
  if (works)
    await check(name, () => run(at, join(at, "node_modules", ".bin", name), [...args, "out/plain.mjs", member.grpc], "ok"));
  else console.log(`skipped ${name}: it cannot be installed here`);
}
if (failed) process.exitCode = 1;
