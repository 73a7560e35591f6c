import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "..");

/** Layers of server/src, low to high. A file imports its own folder or a lower layer, never a sibling of its own layer. */
const layers = [
  ["runtime"],
  ["metrics", "config", "kubernetes"],
  ["security"],
  ["origin", "storage", "membership"],
  ["cache"],
  ["objects"],
  ["writes", "values"],
  ["routing"],
  ["api"],
  ["composition"],
  ["cli"],
];

/** The packages that each package may import. */
const packages: Record<string, string[]> = { proto: [], client: ["proto"], server: ["proto", "client"] };

const layerOf = new Map(layers.flatMap((names, level) => names.map((name) => [name, level] as const)));

interface Import {
  readonly file: string;
  readonly target: string;
}

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.ts$/.test(entry.name) && !entry.name.endsWith(".test.ts"))
    .filter((entry) => !entry.parentPath.split(sep).includes("testing"))
    .map((entry) => join(entry.parentPath, entry.name));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => ({ file, target: match[1]! }));
}

function place(path: string): string {
  const parts = relative(join(root, "server", "src"), path).split(sep);
  return parts.length === 1 ? parts[0]!.replace(/\.js$/, ".ts") : parts[0]!;
}

/** Returns the violation of an import inside server/src; undefined if it is allowed. */
function wrongLayer({ file, target }: Import): string | undefined {
  if (!target.startsWith(".")) return undefined;
  const from = place(file);
  const to = place(join(file, "..", target));
  if (from === to || from === "index.ts") return undefined;
  const [fromLevel, toLevel] = [layerOf.get(from), layerOf.get(to)];
  if (fromLevel === undefined || toLevel === undefined) return `${from} or ${to} is in no layer`;
  return toLevel < fromLevel ? undefined : `${from} must not import ${to}`;
}

function wrongPackage(of: string, { target }: Import): string | undefined {
  const name = /^@frontcache\/(\w+)/.exec(target)?.[1];
  return name === undefined || packages[of]?.includes(name) ? undefined : `${of} must not import ${name}`;
}

/** Returns the violation of an import in a test outside the packages; undefined if it is allowed. */
function wrongInTests({ file, target }: Import): string | undefined {
  if (!target.startsWith(".")) return undefined;
  const [folder] = relative(root, join(file, "..", target)).split(sep);
  return folder! in packages
    ? `${target} is inside a package: import @frontcache/${folder} or @frontcache/${folder}/testing`
    : undefined;
}

describe("the layers", () => {
  it("import only downwards inside the server", () => {
    const files = sources("server/src");
    expect(files.length).toBeGreaterThan(5);
    const wrong = files.flatMap(importsOf).map((found) => ({ ...found, wrong: wrongLayer(found) }));
    expect(wrong.filter((found) => found.wrong !== undefined)).toEqual([]);
  });

  it.each(Object.keys(packages))("keep the package %s to those below it", (name) => {
    const wrong = sources(`${name}/src`)
      .flatMap(importsOf)
      .map((found) => ({ ...found, wrong: wrongPackage(name, found) }));
    expect(wrong.filter((found) => found.wrong !== undefined)).toEqual([]);
  });

  it("let test/ import packages and their testing alone, and no file inside them", () => {
    const files = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" }).filter((name) =>
      /\.(ts|mjs)$/.test(name),
    );
    const imports = files.flatMap((name) => importsOf(join(root, "test", name)));
    expect(imports.length).toBeGreaterThan(100);
    expect(imports.map(wrongInTests).filter((wrong) => wrong !== undefined)).toEqual([]);
  });

  it("would fail on a wrong import", () => {
    const file = join(root, "server/src/storage/volume.ts");
    expect(wrongLayer({ file, target: "../cache/fill/fill.js" })).toBeDefined();
    expect(wrongLayer({ file, target: "../origin/origin.js" })).toBeDefined();
    expect(wrongLayer({ file, target: "../runtime/clock.js" })).toBeUndefined();
    expect(wrongPackage("client", { file, target: "@frontcache/server" })).toBeDefined();
    const test = join(root, "test/s3/aws-sdk.listeners.test.ts");
    expect(wrongInTests({ file: test, target: "../../server/src/cache/local-cache.js" })).toBeDefined();
    expect(wrongInTests({ file: test, target: "../emulators/s3.js" })).toBeUndefined();
  });
});
