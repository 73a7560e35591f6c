import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { build, type Plugin } from "esbuild";

const root = join(import.meta.dirname, "..", "..");
const bin = join(root, "server", "bin", "frontcache.js");
const loader = join(import.meta.dirname, "cached-script.cjs");
const directory = join(root, "test", "dist");
const bundle = join(directory, "main.cjs");
const inputsFile = join(directory, "inputs.json");

/**
 * The built program as one file, with the code that V8 compiled for it. Node loads and compiles the thousand modules of the build in
 * most of the processor time that a member takes to start; tests start some hundred processes.
 */
export const bundledProgram = join(directory, "frontcache.cjs");

/** The namespace of modules that export a part of a package. */
const USED_EXPORTS = "used-exports";

/** Rewrites what a bundle would change. */
const asBuilt: Plugin = {
  name: "as-built",
  setup({ onLoad, onResolve, resolve }) {
    // Nine tenths of this package are generated code that members do not use, which a dynamic import would keep.
    onResolve({ filter: /^@kubernetes\/client-node$/ }, ({ path, kind }) =>
      kind === "dynamic-import" ? { path, namespace: USED_EXPORTS } : undefined,
    );
    onLoad({ filter: /.*/, namespace: USED_EXPORTS }, ({ path }) => ({
      contents: `export { KubeConfig } from ${JSON.stringify(path)};`,
      resolveDir: join(root, "server"),
    }));
    onLoad({ filter: /\.[cm]?js$/ }, async ({ path }) => {
      const text = readFileSync(path, "utf8");
      let rewritten = text;
      for (const [call, name] of text.matchAll(/\bimport\.meta\.resolve\("([^"]+)"\)/g)) {
        const found = await resolve(name!, { kind: "import-statement", resolveDir: join(path, "..") });
        rewritten = rewritten.replace(call, () => JSON.stringify(pathToFileURL(found.path).href));
      }
      rewritten = rewritten
        // Some modules find other files by their own path.
        .replaceAll("import.meta.url", JSON.stringify(pathToFileURL(path).href))
        .replaceAll("__dirname", JSON.stringify(join(path, "..")))
        .replaceAll("__filename", JSON.stringify(path))
        // Node gives a CommonJS package that is imported dynamically its exports by name, a bundle only as the default export.
        .replace(
          /\bimport\((["'])(@(?:aws-sdk|smithy|google-cloud)\/[\w/-]+)\1\)/g,
          "$&.then((module) => module.default ?? module)",
        );
      return rewritten === text ? undefined : { contents: rewritten, loader: "js" };
    });
  },
};

/** Vitest's global setup of the process tier: bundles the build, unless no input has changed since the last run. */
export async function setup(): Promise<void> {
  if (isCurrent()) return;
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const { metafile, outputFiles } = await build({
    entryPoints: [join(root, "server", "dist", "cli", "main.js")],
    outfile: bundle,
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node20",
    metafile: true,
    logLevel: "error",
    // Shortens what each process reads, and leaves no characters but ASCII, which are in comments alone.
    minifyWhitespace: true,
    lineLimit: 200,
    legalComments: "none",
    // It finds its native library by its own location.
    external: ["koffi"],
    plugins: [asBuilt],
    write: false,
  });
  // A script with saved code cannot import; its loader does.
  const script = outputFiles[0]!.text.replace(/\bimport\(/g, "importPackage(");
  if (/[^\0-\x7f]/.test(script)) throw new Error("the bundle contains other characters than ASCII");
  writeFileSync(bundle, script);
  const load = `require(${JSON.stringify(loader)}).load(${JSON.stringify(bundle)})`;
  writeFileSync(
    bundledProgram,
    readFileSync(bin, "utf8").replace('import("../dist/cli/main.js")', () => load),
  );
  await writeCode();
  const files = Object.keys(metafile.inputs).filter((path) => !path.startsWith(USED_EXPORTS));
  const inputs = [...files.map((path) => join(root, path)), bin, loader, import.meta.filename];
  writeFileSync(inputsFile, JSON.stringify([process.version, ...inputs.map((path) => [path, statSync(path).mtimeMs])]));
}

/** Starts a member and shuts it down when it listens, which saves the code that it ran. */
async function writeCode(): Promise<void> {
  const cacheDirectory = mkdtempSync(join(tmpdir(), "frontcache-code-"));
  const anyPort = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"];
  const args = ["serve", "--discovery", "none", "--cache-dirs", `${cacheDirectory}:1GiB`, ...anyPort];
  const member = spawn(process.execPath, [bundledProgram, ...args], {
    env: { ...process.env, FRONTCACHE_TEST_WRITE_CODE: "true", AWS_REGION: "us-east-1", AWS_CA_BUNDLE: "" },
    stdio: ["ignore", "pipe", "inherit"],
    timeout: 180_000,
    killSignal: "SIGKILL",
  });
  const closed = once(member, "close");
  try {
    for await (const line of createInterface({ input: member.stdout })) if (line.includes('"listening"')) member.kill("SIGTERM");
    const [code] = await closed;
    if (code !== 0) throw new Error(`the member that shows which code is run ended with ${code}`);
  } finally {
    member.kill("SIGKILL");
    rmSync(cacheDirectory, { recursive: true, force: true });
  }
}

function isCurrent(): boolean {
  try {
    const [version, ...inputs] = JSON.parse(readFileSync(inputsFile, "utf8")) as [
      version: string,
      ...inputs: (readonly [path: string, mtimeMs: number])[],
    ];
    return version === process.version && inputs.every(([path, mtimeMs]) => statSync(path).mtimeMs === mtimeMs);
  } catch {
    return false;
  }
}
