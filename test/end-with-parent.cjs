// Loaded with `--require` into members that a test or the demo starts. Ends the member when the process that started it ends for
// any reason. The member's standard input is a pipe that only this process keeps open.
// CommonJS, because loading an ES module starts the thread pool before the member can set its size.
const { stdin } = process;
stdin.once("close", () => process.kill(process.pid, "SIGKILL"));
stdin.on("error", () => {}).resume();
stdin.unref();
