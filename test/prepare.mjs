// Prepares a fresh clone: installs missing dependencies and builds the packages.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

function npm(what, args) {
  console.log(`${what} ...`);
  const { status } = spawnSync("npm", args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  if (status === 0) return;
  console.error(`npm ${args.join(" ")} failed; run it by hand to see why`);
  process.exit(1);
}

export function prepare() {
  const installed = existsSync(join(root, "node_modules", ".package-lock.json"));
  if (!installed) npm("Installing the dependencies", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
  npm("Building", ["run", "build"]);
}
