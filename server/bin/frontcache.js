#!/usr/bin/env node
// CommonJS, and this line first: an ES module is read by the thread pool, which then has its size before the module runs.
process.env.UV_THREADPOOL_SIZE ??= "24";

import("../dist/cli/main.js").then(
  ({ main }) => main(process.argv.slice(2)),
  (error) => {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    process.stderr.write("frontcache: not built yet: run npm ci && npm run build\n");
    process.exitCode = 1;
  },
);
