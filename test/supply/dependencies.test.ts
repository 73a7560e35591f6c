import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { importsIn, lockedPackages, manifestOf, packageFolders, packageOf, root, sourcesIn } from "./manifests.js";

/** Production packages with an install script, each with the reason why the script is not needed. */
const SCRIPTS_NOT_NEEDED: Readonly<Record<string, string>> = {
  koffi: "its script looks for the prebuilt binary, which comes as an optional package of its own",
  protobufjs: "its script only warns of loose versions",
};

const names = (dependencies: Readonly<Record<string, string>> | undefined): string[] => Object.keys(dependencies ?? {});

/** Returns the packages in CONTRIBUTING with their reasons. */
function reasons(): Map<string, string> {
  const section = readFileSync(join(root, "CONTRIBUTING.md"), "utf8").split("## Dependencies, and why")[1]!;
  const rows = section.split("\n## ")[0]!.matchAll(/^\| (.*`.*) \| (.*) \|$/gm);
  return new Map(
    [...rows].flatMap(([, packages, why]) => [...packages!.matchAll(/`([^`]+)`/g)].map(([, name]) => [name!, why!])),
  );
}

/** Returns the packages that the files of a folder import. */
function importedIn(folder: string, isMeant: (path: string) => boolean): Set<string> {
  const texts = sourcesIn(folder)
    .filter(isMeant)
    .map((path) => readFileSync(join(root, folder, path), "utf8"));
  return new Set(texts.flatMap(importsIn).flatMap((specifier) => packageOf(specifier) ?? []));
}

/** Whether a package contains a file: no tests, no test support, no generators. */
const shipped = (path: string): boolean => /^(?:src|page|bin|threads)\//.test(path) && !/\.test\.ts$|\/testing\//.test(path);

/** Returns whether a script of package.json uses one of a package's commands, or the code generator uses the package. */
function runsAsTool(name: string): boolean {
  const { bin = {} } = JSON.parse(readFileSync(join(root, "node_modules", name, "package.json"), "utf8"));
  const commands = typeof bin === "string" ? [name] : names(bin);
  const scripts = Object.values(manifestOf("").scripts ?? {}).join("\n");
  const generator = readFileSync(join(root, "proto", "generate.mjs"), "utf8");
  return commands.some((command) => new RegExp(`\\b${command}\\b`).test(`${scripts}\n${generator}`));
}

describe("dependencies", () => {
  const everything = ["", ...packageFolders].map(manifestOf);
  const ours = new Set(everything.map(({ name }) => name));
  const foreign = new Set(
    everything.flatMap((each) => [...names(each.dependencies), ...names(each.devDependencies)]).filter((name) => !ours.has(name)),
  );

  it("are all listed in CONTRIBUTING with their reason, and no other package is", () => {
    const named = reasons();
    expect([...named.keys()].sort()).toEqual([...foreign].sort());
    for (const why of named.values()) expect(why.length).toBeGreaterThan(10);
  });

  it.each(packageFolders)("of %s are exactly the packages that its code imports", (folder) => {
    const declared = names(manifestOf(folder).dependencies);
    expect([...importedIn(folder, shipped)].sort()).toEqual(declared.sort());
  });

  it("of development are imported by a test, run by a script, or contain types of a package that is", () => {
    const imported = new Set(["proto", "client", "server", "test"].flatMap((folder) => [...importedIn(folder, () => true)]));
    const typed = (name: string): boolean => {
      const of = name.replace("@types/", "");
      return name.startsWith("@types/") && (of === "node" || imported.has(of));
    };
    const dead = names(manifestOf("").devDependencies).filter((name) => !imported.has(name) && !typed(name) && !runsAsTool(name));
    expect(dead).toEqual([]);
  });

  it("of tests and benchmarks are declared too", () => {
    const known = new Set([...foreign, ...ours]);
    const found = ["proto", "client", "server", "test"].flatMap((folder) => [...importedIn(folder, () => true)]);
    expect(found.filter((name) => !known.has(name))).toEqual([]);
  });

  it("are locked by digest, except platform-specific binaries of other platforms", () => {
    const locked = [...lockedPackages()].filter(([, { dev, optional }]) => !(dev === true && optional === true));
    expect(locked.length).toBeGreaterThan(100);
    expect(locked.filter(([, { integrity }]) => !integrity?.startsWith("sha512-")).map(([place]) => place)).toEqual([]);
  });

  it("need no install script in production, except packages known to work without theirs", () => {
    const scripted = [...lockedPackages()].filter(([, each]) => each.hasInstallScript === true && each.dev !== true);
    expect(scripted.map(([place]) => place).sort()).toEqual(names(SCRIPTS_NOT_NEEDED).map((name) => `node_modules/${name}`));
  });

  it("contain prebuilt native code for the platforms of members and clients", () => {
    const prebuilt = names(manifestOf("node_modules/koffi").optionalDependencies);
    for (const system of ["linux-x64", "linux-arm64", "darwin-arm64"]) {
      expect(prebuilt).toContain(`@koromix/koffi-${system}`);
      expect(lockedPackages().has(`node_modules/@koromix/koffi-${system}`)).toBe(true);
    }
  });
});
