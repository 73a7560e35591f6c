import childProcess from "node:child_process";
import { syncBuiltinESMExports } from "node:module";
import { tiers } from "./tiers.js";

// Setup of all tiers except processes: starting a process fails.

function forbidden(): never {
  throw new Error(`this test starts a process; the name of its file must end with ${tiers.processes.ending}`);
}

// spawn, exec, execFile and fork all call this function.
Object.assign(childProcess.ChildProcess.prototype, { spawn: forbidden });
Object.assign(childProcess, { spawnSync: forbidden, execSync: forbidden, execFileSync: forbidden });
syncBuiltinESMExports();
