// `npm run stability`: runs `npm ci && npm test` on fresh clones of the last commit, every second time beside two busy loops, and
// prints the red runs with what failed. `-- 12`: twelve clones instead of six. Further arguments go to vitest, for example
// `-- 12 --project processes`.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const runs = Number(process.argv[2] ?? 6);
const vitestArguments = process.argv.slice(3);
const BUSY_LOOPS = 2;

function run(cwd, program, args, env = {}) {
  const { status } = spawnSync(program, args, { cwd, stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, ...env } });
  return status === 0;
}

/** Runs the tests on a fresh clone; returns what failed, undefined if nothing did. */
function testClone() {
  const directory = mkdtempSync(join(tmpdir(), "frontcache-stability-"));
  const clone = join(directory, "clone");
  const failures = join(directory, "failures");
  try {
    if (!run(root, "git", ["clone", "--quiet", root, clone])) return "git clone failed";
    if (!run(clone, "npm", ["ci", "--no-audit", "--no-fund"])) return "npm ci failed";
    const reporters = ["--reporter=default", "--reporter=./.ci/failures.mjs"];
    if (run(clone, "npm", ["test", "--", ...reporters, ...vitestArguments], { CI_FAILURES: failures })) return undefined;
    return existsSync(failures) ? readFileSync(failures, "utf8") : "npm test failed without a report";
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

let red = 0;
for (let at = 0; at < runs; at++) {
  const busy = Array.from({ length: at % 2 === 0 ? 0 : BUSY_LOOPS }, () => spawn(process.execPath, ["-e", "for (;;);"]));
  const beganMs = performance.now();
  const failed = testClone();
  for (const loop of busy) loop.kill("SIGKILL");
  const name = `${at + 1} of ${runs}, ${busy.length === 0 ? "alone" : "beside two busy loops"}`;
  console.log(`${failed === undefined ? "green" : "RED  "}  ${Math.round((performance.now() - beganMs) / 1_000)} s  ${name}`);
  if (failed === undefined) continue;
  red++;
  console.log(failed);
}
console.log(`${red} of ${runs} runs were red on Node ${process.version}`);
process.exitCode = red === 0 ? 0 : 1;
