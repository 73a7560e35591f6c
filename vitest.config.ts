import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (folder: string) => fileURLToPath(new URL(`./${folder}/src/index.ts`, import.meta.url));

// Tests run on the sources; tests that start processes (test/e2e) run the build, which `npm test` makes first.
export default defineConfig({
  resolve: {
    alias: {
      "@frontcache/proto": source("proto"),
      "@frontcache/client": source("client"),
      "@frontcache/server": source("server"),
    },
  },
  test: {
    include: ["{proto,client,server}/src/**/*.test.ts", "test/**/*.test.ts"],
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
