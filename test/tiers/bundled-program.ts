import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build, type Plugin } from "esbuild";

const root = join(import.meta.dirname, "..", "..");
const bin = join(root, "server", "bin", "frontcache.js");
const directory = join(root, "test", "dist");
const inputsFile = join(directory, "inputs.json");

/**
 * The built program in a few files. Node loads the thousand modules of the build in 0.5 s of processor time, and the bundle in half of
 * that; tests start some hundred processes.
 */
export const bundledProgram = join(directory, "frontcache.cjs");

/** Rewrites what a bundle would change. */
const asBuilt: Plugin = {
  name: "as-built",
  setup({ onLoad }) {
    onLoad({ filter: /\.[cm]?js$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      const rewritten = text
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
  mkdirSync(directory, { recursive: true });
  const { metafile } = await build({
    entryPoints: { main: join(root, "server", "dist", "cli", "main.js") },
    outdir: directory,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node20",
    metafile: true,
    logLevel: "error",
    // It finds its native library by its own location.
    external: ["koffi"],
    plugins: [asBuilt],
    banner: { js: 'import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);' },
  });
  writeFileSync(bundledProgram, readFileSync(bin, "utf8").replace("../dist/cli/main.js", "./main.mjs"));
  const inputs = [...Object.keys(metafile.inputs).map((path) => join(root, path)), bin, import.meta.filename];
  writeFileSync(inputsFile, JSON.stringify(inputs.map((path) => [path, statSync(path).mtimeMs])));
}

function isCurrent(): boolean {
  try {
    const inputs = JSON.parse(readFileSync(inputsFile, "utf8")) as readonly (readonly [path: string, mtimeMs: number])[];
    return inputs.every(([path, mtimeMs]) => statSync(path).mtimeMs === mtimeMs);
  } catch {
    return false;
  }
}
