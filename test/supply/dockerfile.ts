import { cpSync, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { basename, join, relative } from "node:path";
import { root } from "./manifests.js";

/** One instruction of a Dockerfile, its lines joined: `COPY`, `proto proto`. */
export interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** Returns the stages of deploy/Dockerfile; each begins with its FROM. */
export function stages(): Instruction[][] {
  const text = readFileSync(join(root, "deploy", "Dockerfile"), "utf8");
  const lines = text
    .replace(/^#.*\n/gm, "")
    .replace(/\\\n/g, "")
    .split("\n");
  const found: Instruction[][] = [];
  for (const line of lines) {
    const [, name, rest] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    if (name === "FROM") found.push([]);
    if (name !== undefined) found.at(-1)?.push({ name, rest: rest! });
  }
  return found;
}

/** Returns the arguments of all instructions with a name. */
export function argumentsOf(stage: readonly Instruction[], name: string): string[] {
  return stage.filter((each) => each.name === name).map(({ rest }) => rest);
}

/** Returns the sources and the target of a COPY; undefined for a COPY from another stage. */
export function copied(rest: string): { readonly sources: string[]; readonly target: string } | undefined {
  if (rest.startsWith("--from")) return undefined;
  const words = rest.split(/\s+/);
  return { sources: words.slice(0, -1), target: words.at(-1)! };
}

const patterns = readFileSync(join(root, ".dockerignore"), "utf8")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => {
    const glob = line
      .replace(/^!/, "")
      .replace(/[.]/g, "\\.")
      .replace(/\*\*\//g, "\0")
      .replace(/\*/g, "[^/]*");
    return { ignores: !line.startsWith("!"), matches: new RegExp(`^${glob.replaceAll("\0", "(?:.*/)?")}(?:/|$)`) };
  });

/** Returns whether `.dockerignore` excludes a path; the last matching pattern decides. */
export function isIgnored(path: string): boolean {
  return patterns.findLast(({ matches }) => matches.test(path))?.ignores ?? false;
}

/** Executes a COPY into a directory that represents the image's working directory. Throws if a source is missing. */
export function copyInto(directory: string, { sources, target }: { readonly sources: string[]; readonly target: string }): void {
  for (const source of sources) {
    const from = join(root, source);
    if (!existsSync(from) || isIgnored(source)) throw new Error(`COPY ${source}: there is no such file in the build's context`);
    const to =
      statSync(from).isFile() && target.endsWith("/") ? join(directory, target, basename(source)) : join(directory, target);
    mkdirSync(join(to, ".."), { recursive: true });
    const isFile = statSync(from).isFile();
    cpSync(from, isFile && target === "./" ? join(directory, basename(source)) : to, {
      recursive: true,
      filter: (each) => !isIgnored(relative(root, each)),
    });
  }
}
