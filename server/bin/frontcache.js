#!/usr/bin/env node
// CommonJS, and this line first: an ES module is read by the thread pool, which then has its size before the module runs.
process.env.UV_THREADPOOL_SIZE ??= "24";
// V8 collects old garbage when the heap has grown by 70 %, not when it has doubled or more, and begins to mark at 80 % of that. One thread
// marks beside the main thread: several steal work from each other. Measured twice with 22,000 to 26,000 cold objects of 4 KiB on one core,
// against 40 % and four threads: 231 and 238 us of CPU time for each instead of 398 and 370, and 1.4 and 1.7 KB of anonymous memory instead of
// 1.5 and 1.6.
const { setFlagsFromString } = require("node:v8");
setFlagsFromString("--heap-growing-percent=70");
setFlagsFromString("--incremental-marking-soft-trigger=80");
setFlagsFromString("--incremental-marking-hard-trigger=95");
setFlagsFromString("--concurrent-marking-max-worker-num=1");
// V8 collects young garbage in one thread. Several threads spend most of their time waiting for each other. Measured with 10,000 cold
// objects of 4 KiB on one core: 690 us of CPU time for each instead of 890, of which the main thread takes 510 instead of 600.
setFlagsFromString("--no-parallel-scavenge");
// V8 inlines about three times as much into a function that it compiles, since a read passes a hundred small functions. Measured: forwarded
// reads of 64 KiB take 9 % less CPU time; compiling takes half a second more of it, once, in the first thousands of requests.
setFlagsFromString("--max-inlined-bytecode-size=1000");
setFlagsFromString("--max-inlined-bytecode-size-cumulative=3000");

import("../dist/cli/main.js").then(
  ({ main }) => main(process.argv.slice(2)),
  (error) => {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    process.stderr.write("frontcache: not built yet: run npm ci && npm run build\n");
    process.exitCode = 1;
  },
);
