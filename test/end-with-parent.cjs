// Loaded by `--require` into a member that a test or the demo starts: it ends as soon as the process that started it is gone,
// however that ended, because nobody is left to end it. Its standard input is a pipe that only that process holds open.
// CommonJS: an ES module is read by the thread pool, which then has its size before the member sets it.
const { stdin } = process;
stdin.once("close", () => process.kill(process.pid, "SIGKILL"));
stdin.on("error", () => {}).resume();
stdin.unref();
