import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (folder: string, file = "index.ts") => fileURLToPath(new URL(`./${folder}/src/${file}`, import.meta.url));

// Tests run on the sources; tests that start processes (test/e2e) run the build, which `npm test` makes first.
export default defineConfig({
  resolve: {
    alias: {
      "@frontcache/proto/runtime": source("proto", "runtime/index.ts"),
      "@frontcache/proto": source("proto"),
      "@frontcache/client/grpc": source("client", "members/grpc/index.ts"),
      "@frontcache/client": source("client"),
      "@frontcache/server": source("server"),
    },
  },
  test: {
    include: ["{proto,client,server}/src/**/*.test.ts", "test/**/*.test.ts"],
    pool: "forks",
    // Members that tests start by the command line must not meet on the default port.
    env: { FRONTCACHE_HTTP_LISTEN: "127.0.0.1:0" },
    // Shared CI machines stall processes for seconds: what fails there must fail twice. Nothing is repeated elsewhere.
    retry: process.env.CI === undefined ? 0 : 1,
    setupFiles: [fileURLToPath(new URL("./test/patience.ts", import.meta.url))],
    expect: { poll: { timeout: 10_000 } },
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
