import { join, resolve } from "node:path";
import { type Parser, wrong } from "./parser.js";
import { size } from "./quantities.js";

/** A cache directory and its optional size limit. Without one, the cache may fill the file system. */
export interface CacheDir {
  /** Absolute. */
  readonly path: string;
  readonly limitBytes?: number;
}

/** Directories separated by commas, each `path` or `path:size`, none inside another. A path contains no colon and no comma. */
export const cacheDirs: Parser<readonly CacheDir[]> = {
  unit: "path[:size],...",
  parse(text) {
    const directories = text.split(",").map((part) => parseCacheDir(part.trim()));
    const twice = directories.find((each, at) => directories.findIndex((other) => other.path === each.path) !== at);
    if (twice !== undefined) throw new Error(`${twice.path} appears twice: use each directory once`);
    for (const { path: inner } of directories) {
      const outer = directories.find(({ path }) => path !== inner && inner.startsWith(join(path, "/")));
      if (outer !== undefined) throw new Error(`${inner} is inside ${outer.path}: use separate directories`);
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
