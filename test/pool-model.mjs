// `npm run pool -- 1000000`: that many random operations on a pool of the client beside a model, with full disks and crashes. Default: a
// million, which take about a minute of CPU time.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";

const root = join(import.meta.dirname, "..");
const FRONTCACHE_POOL_OPERATIONS = process.argv[2] ?? "1000000";
prepare();
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
const args = ["run", "--project", "unit", "--testTimeout", "3600000", join("client", "src", "pool", "pool-model.test.ts")];
const { status } = spawnSync(process.execPath, [vitest, ...args], {
  cwd: root,
  env: { ...process.env, FRONTCACHE_POOL_OPERATIONS },
  stdio: "inherit",
});
process.exitCode = status ?? 1;
