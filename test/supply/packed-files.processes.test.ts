import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { importsIn, manifestOf, packageFolders, root } from "./manifests.js";

/** Returns the paths that `npm pack` would include, by package name. */
function packed(): Map<string, string[]> {
  const packages = packageFolders.flatMap((folder) => ["--workspace", folder]);
  const args = ["pack", "--dry-run", "--json", "--ignore-scripts", ...packages];
  const text = execFileSync("npm", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const all: readonly { readonly name: string; readonly files: readonly { readonly path: string }[] }[] = JSON.parse(text);
  return new Map(all.map(({ name, files }) => [name, files.map(({ path }) => path)]));
}

/**
 * Returns whether the source of a built file was deleted. A work tree may contain such files; publishing rebuilds (`prepack`).
 */
function isLeftOver(folder: string, path: string): boolean {
  const source = path.replace(/^dist\//, "src/").replace(/(?:\.js|\.d\.ts|\.js\.map)$/, ".ts");
  return path.startsWith("dist/") && source !== path && !existsSync(join(root, folder, source));
}

/** Returns every path in a manifest, without its "./". */
function promised(folder: string): string[] {
  const { exports = {}, bin = {} } = manifestOf(folder);
  const paths = [...Object.values(exports).flatMap((conditions) => Object.values(conditions)), ...Object.values(bin)];
  return paths.map((path) => posix.normalize(path));
}

/** Returns the relative imports of a file as paths in its package. */
function importsOf(folder: string, path: string): string[] {
  const relative = importsIn(readFileSync(join(root, folder, path), "utf8")).filter((specifier) => specifier.startsWith("."));
  return relative.map((specifier) => posix.join(posix.dirname(path), specifier));
}

/** Returns the files of a package that its entries need: their imports, and those of their types. */
function reachable(folder: string): Set<string> {
  const found = new Set<string>();
  const waiting = promised(folder).filter((path) => path.endsWith(".js"));
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (found.has(path)) continue;
    found.add(path);
    waiting.push(...importsOf(folder, path));
    if (path.startsWith("dist/")) waiting.push(...importsOf(folder, path.replace(/\.js$/, ".d.ts")));
  }
  return found;
}

/** Returns whether a built module contains only types, which are never loaded. */
const holdsNoCode = (folder: string, path: string): boolean =>
  /^export \{\};$/m.test(readFileSync(join(root, folder, path), "utf8"));

let everything: Map<string, string[]>;

beforeAll(() => {
  everything = packed();
});

describe.each(packageFolders)("the package %s", (folder) => {
  let files: string[];

  beforeAll(() => {
    files = everything.get(manifestOf(folder).name)!.filter((path) => !isLeftOver(folder, path));
  });

  it("contains every file that its manifest names, including README and LICENSE", () => {
    expect(files).toEqual(expect.arrayContaining([...promised(folder), "package.json", "README.md", "LICENSE"]));
    expect(readFileSync(join(root, folder, "LICENSE"), "utf8")).toBe(readFileSync(join(root, "LICENSE"), "utf8"));
  });

  it("contains the code that its entries need, and no other code: no tests, no fakes", () => {
    const modules = files.filter((path) => path.startsWith("dist/") && path.endsWith(".js") && !holdsNoCode(folder, path));
    const built = [...reachable(folder)].filter((path) => path.startsWith("dist/") && !holdsNoCode(folder, path));
    expect(modules.sort()).toEqual(built.sort());
    expect(built.length).toBeGreaterThan(10);
  });

  it("contains the types of every module, and the types that those import", () => {
    const types = files.filter((path) => path.endsWith(".d.ts"));
    expect(types).toEqual(
      expect.arrayContaining(files.filter((path) => /^dist\/.*\.js$/.test(path)).map((path) => path.replace(/\.js$/, ".d.ts"))),
    );
    const required = types.flatMap((path) => importsOf(folder, path)).map((path) => path.replace(/\.js$/, ".d.ts"));
    expect([...new Set(required)].filter((path) => !types.includes(path))).toEqual([]);
  });

  it("contains, in addition to the build, only files that are read at run time", () => {
    const expected: Readonly<Record<string, RegExp>> = {
      proto: /^cache\.proto$/,
      client: /^$/,
      server: /^(?:bin\/(?:frontcache\.js|package\.json)|threads\/[\w-]+\.cjs|page\/[\w-]+\.(?:js|css|html))$/,
    };
    const beside = files.filter(
      (path) => !/^(?:package\.json|README\.md|LICENSE)$|^dist\/.*(?:\.js|\.d\.ts|\.js\.map)$/.test(path),
    );
    expect(beside.filter((path) => !expected[folder]!.test(path))).toEqual([]);
    const read: Readonly<Record<string, readonly string[]>> = {
      proto: ["cache.proto"],
      client: [],
      server: [
        "page/index.html",
        "page/main.js",
        "page/page.css",
        "threads/create-files.cjs",
        "threads/look-at-files.cjs",
        "bin/package.json",
      ],
    };
    expect(beside).toEqual(expect.arrayContaining([...read[folder]!]));
  });
});
