import { join, resolve } from "node:path";
import { type Parser, wrong } from "./parser.js";
import { size } from "./quantities.js";

/** A cache directory and, where one is given, its budget; otherwise its file system is the limit. */
export interface CacheDir {
  /** Absolute. */
  readonly path: string;
  readonly limitBytes?: number;
}

/** Directories by commas, each `path` or `path:size`, none inside another: one's files would be the other's. Their paths hold no colon and no comma. */
export const cacheDirs: Parser<readonly CacheDir[]> = {
  unit: "path[:size],...",
  parse(text) {
    const directories = text.split(",").map((part) => parseCacheDir(part.trim()));
    const twice = directories.find((each, at) => directories.findIndex((other) => other.path === each.path) !== at);
    if (twice !== undefined) throw new Error(`${twice.path} is named twice: write each directory once`);
    for (const { path: inner } of directories) {
      const outer = directories.find(({ path }) => path !== inner && inner.startsWith(join(path, "/")));
      if (outer !== undefined) throw new Error(`${inner} is inside ${outer.path}: put them side by side`);
    }
    return directories;
  },
};

function parseCacheDir(text: string): CacheDir {
  const colon = text.lastIndexOf(":");
  const path = colon < 0 ? text : text.slice(0, colon);
  if (path === "" || path.includes(":")) throw wrong(text, "a cache directory", "a path, or path:size as in /cache:200GiB");
  return colon < 0 ? { path: resolve(path) } : { path: resolve(path), limitBytes: size(1).parse(text.slice(colon + 1)) };
}
