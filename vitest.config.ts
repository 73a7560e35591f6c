import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";
import { bundledProgram } from "./test/tiers/bundled-program.js";
import { LongestFirst } from "./test/tiers/longest-first.js";
import { type Tier, tiers } from "./test/tiers/tiers.js";

const file = (path: string): string => join(import.meta.dirname, path);
const compareBytes = file("test/tiers/compare-bytes.ts");

/** What a package exports, and its test support, by the sources instead of by the build. */
function sourcesOf(name: string): { find: RegExp; replacement: string }[] {
  const { exports } = JSON.parse(readFileSync(file(`${name}/package.json`), "utf8")) as {
    exports: Record<string, { default: string }>;
  };
  const built = { ...exports, "./testing": { default: "./dist/testing/index.js" } };
  return Object.entries(built).map(([path, entry]) => ({
    find: new RegExp(`^@frontcache/${name}${path.slice(1)}$`),
    replacement: file(join(name, entry.default.replace("./dist/", "src/").replace(/\.js$/, ".ts"))),
  }));
}

/** The files of a tier: those with its ending, and without that of another tier. */
function filesOf(tier: Tier): { include: string[]; exclude: string[] } {
  const others = Object.values(tiers).filter(
    ({ ending }) => ending !== tiers[tier].ending && ending.endsWith(tiers[tier].ending),
  );
  return {
    include: [`{proto,client,server}/src/**/*${tiers[tier].ending}`, `test/**/*${tiers[tier].ending}`],
    exclude: others.map(({ ending }) => `**/*${ending}`),
  };
}

function project(name: Tier, test: TestProjectInlineConfiguration["test"]): TestProjectInlineConfiguration {
  return { extends: true, test: { name, ...filesOf(name), ...test } };
}

// Tests run on the sources; tests that start processes run the build, which `npm test` makes first.
export default defineConfig({
  resolve: {
    alias: ["proto", "client", "server"].flatMap(sourcesOf),
  },
  test: {
    pool: "forks",
    maxWorkers: 2,
    env: {
      // Members that tests start by the command line must not meet on the default port.
      FRONTCACHE_HTTP_LISTEN: "127.0.0.1:0",
      // Emulators speak plain HTTP. Parsing this machine's authorities takes 0.1 s for each S3 origin.
      AWS_CA_BUNDLE: "",
    },
    expect: { poll: { timeout: 90_000 } },
    // Bounds for what hangs, not for what is slow on a busy machine.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // Tests leave nothing behind in their process, which runs one file after the other and loads each module once.
    isolate: false,
    sequence: { sequencer: LongestFirst },
    projects: [
      project("unit", {
        sequence: { groupOrder: 0 },
        setupFiles: [
          file("test/tiers/forbid-processes.ts"),
          file("test/tiers/forbid-listening.ts"),
          file("test/tiers/property-seed.ts"),
          compareBytes,
        ],
      }),
      project("listeners", {
        sequence: { groupOrder: 1 },
        // They wait for sockets and timers, too.
        maxWorkers: 3,
        setupFiles: [file("test/tiers/forbid-processes.ts"), compareBytes],
      }),
      project("processes", {
        sequence: { groupOrder: 2 },
        // They wait for processes and timers more than they compute.
        maxWorkers: 3,
        globalSetup: file("test/tiers/bundled-program.ts"),
        setupFiles: [compareBytes],
        env: { TESTED_PROGRAM: bundledProgram },
      }),
    ],
  },
});
