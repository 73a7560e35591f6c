// `npm run properties -- 20`: runs the property tests of the unit tier with 20 random seeds. Stops at the first seed that fails.
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { prepare } from "./prepare.mjs";

const root = join(import.meta.dirname, "..");
const runs = Number(process.argv[2] ?? 20);

function hasProperties(file) {
  return file.endsWith(".test.ts") && readFileSync(join(root, file), "utf8").includes('from "fast-check"');
}

prepare();
const sources = ["proto", "client", "server"].map((name) => join(name, "src"));
const all = sources.flatMap((folder) => readdirSync(join(root, folder), { recursive: true }).map((file) => join(folder, file)));
const files = all.filter(hasProperties);
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
for (let run = 1; run <= runs; run++) {
  const FRONTCACHE_PROPERTY_SEED = String(randomInt(2 ** 31));
  console.log(`Run ${run} of ${runs}: ${files.length} files from seed ${FRONTCACHE_PROPERTY_SEED}`);
  const { status } = spawnSync(process.execPath, [vitest, "run", "--project", "unit", "--reporter", "dot", ...files], {
    cwd: root,
    env: { ...process.env, FRONTCACHE_PROPERTY_SEED },
    stdio: "inherit",
  });
  if (status !== 0) {
    console.error(
      `Seed ${FRONTCACHE_PROPERTY_SEED} failed. Repeat it: FRONTCACHE_PROPERTY_SEED=${FRONTCACHE_PROPERTY_SEED} npm run test:unit`,
    );
    process.exit(1);
  }
}
