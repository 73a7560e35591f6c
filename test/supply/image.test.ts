import { existsSync } from "node:fs";
import { join } from "node:path";
import { DEFAULT_S3_LISTEN, readSettings } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { argumentsOf, copied, isIgnored, stages } from "./dockerfile.js";
import { packageFolders, root } from "./manifests.js";

describe("the image", () => {
  const [build, final] = stages();
  const copies = argumentsOf(build!, "COPY").flatMap((rest) => copied(rest) ?? []);

  it("is built from files that exist and that its build context includes", () => {
    const sources = copies.flatMap((each) => each.sources);
    expect(sources.length).toBeGreaterThan(5);
    expect(sources.filter((source) => !existsSync(join(root, source)) || isIgnored(source))).toEqual([]);
  });

  it("contains no test files and no earlier builds", () => {
    for (const path of ["test", "node_modules", "server/node_modules/x", "server/dist/index.js", "proto/src/ring.test.ts"]) {
      expect([path, isIgnored(path)]).toEqual([path, true]);
    }
    for (const path of ["server/src/composition/server.ts", "server/page/main.js", "proto/cache.proto"]) {
      expect([path, isIgnored(path)]).toEqual([path, false]);
    }
  });

  it("installs with the manifests of all workspaces, and runs no install script", () => {
    const install = build!.findIndex(({ name, rest }) => name === "RUN" && rest.startsWith("npm ci"));
    const before = argumentsOf(build!.slice(0, install), "COPY").flatMap((rest) => copied(rest)?.sources ?? []);
    const manifests = packageFolders.map((folder) => `${folder}/package.json`);
    expect(before).toEqual(expect.arrayContaining(["package.json", "package-lock.json", ...manifests]));
    const npm = argumentsOf(build!, "RUN").flatMap((rest) => rest.match(/npm (?:ci|prune)[^&]*/g) ?? []);
    expect(npm.filter((command) => !command.includes("--ignore-scripts"))).toEqual([]);
  });

  it("starts the member as an unprivileged user and exposes its ports", () => {
    const [entry] = argumentsOf(final!, "ENTRYPOINT").map((rest) => JSON.parse(rest) as string[]);
    expect(entry).toEqual(["node", expect.stringMatching(/^\/app\//)]);
    expect(existsSync(join(root, entry![1]!.replace("/app/", "")))).toBe(true);
    expect(argumentsOf(final!, "USER")).toEqual([expect.stringMatching(/^[1-9]\d*:[1-9]\d*$/)]);
    const { listen, httpListen } = readSettings({}, {});
    expect(argumentsOf(final!, "EXPOSE")).toEqual([`${listen.tcp?.port} ${httpListen.tcp?.port} ${DEFAULT_S3_LISTEN.port}`]);
  });
});
