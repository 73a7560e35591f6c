// `npm test`, and a command for each tier: work on a fresh clone. Arguments go to vitest: `npm test -- server/src/cache`.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";

prepare();
console.log(`Property tests run from seed ${process.env.FRONTCACHE_PROPERTY_SEED ?? 1} (FRONTCACHE_PROPERTY_SEED).`);
const vitest = join(import.meta.dirname, "..", "node_modules", "vitest", "vitest.mjs");
const { status } = spawnSync(process.execPath, [vitest, "run", ...process.argv.slice(2)], { stdio: "inherit" });
process.exitCode = status ?? 1;
