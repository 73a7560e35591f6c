import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { type Installation, installations } from "./clients.js";

/** Where clients are installed: never in the repository. */
const FOLDER = process.env.FRONTCACHE_CLIENTS ?? join(homedir(), ".cache", "frontcache-clients");

/** Timeout of one step of an installation. */
const STEP_TIMEOUT_MS = 300_000;

/** An installation that succeeded, or why it did not. */
export type Installed = { readonly environment: Readonly<Record<string, string>> } | Problem;

export interface Problem {
  readonly problem: string;
  /** The registry was too slow: nothing is wrong with the client. */
  readonly isSlow: boolean;
}

/** The module of the real S3 server that is the origin. */
export const ORIGIN_SERVER = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";

const done = new Map<string, Installed>();

/** Installs a group of clients, if that was not done before. `environment` has their programs and modules first. */
export function install(name: keyof typeof installations): Installed {
  const known = done.get(name);
  if (known !== undefined) return known;
  const installed = installInto(join(FOLDER, name), installations[name]);
  done.set(name, installed);
  return installed;
}

/** Builds the origin's server. Undefined: Go cannot. */
export function installOriginServer(): string | undefined {
  const folder = join(FOLDER, "origin");
  const program = join(folder, "bin", "versitygw");
  if (existsSync(program)) return program;
  const installed = installInto(folder, { by: "go", packages: [ORIGIN_SERVER] });
  return "problem" in installed ? undefined : program;
}

function installInto(folder: string, installation: Installation): Installed {
  const wanted = JSON.stringify(installation.packages);
  const mark = join(folder, `installed-${Buffer.from(wanted).toString("base64url").slice(-40)}`);
  const isInstalled = existsSync(mark);
  mkdirSync(folder, { recursive: true });
  const path = (bin: string): Installed => ({
    environment: { PATH: `${bin}${delimiter}${process.env.PATH}`, CLIENT_FOLDER: folder },
  });
  const problem = isInstalled ? undefined : runSteps(stepsOf(folder, installation));
  if (problem !== undefined) return problem;
  if (!isInstalled) writeFileSync(mark, "");
  if (installation.by === "npm") return path(join(folder, "node_modules", ".bin"));
  return installation.by === "apt" ? { environment: {} } : path(join(folder, "bin"));
}

interface Step {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

function stepsOf(folder: string, installation: Installation): readonly Step[] {
  const { packages } = installation;
  switch (installation.by) {
    case "pip":
      return [
        { command: "python3", args: ["-m", "venv", folder] },
        { command: join(folder, "bin", "pip"), args: ["install", "-q", "--disable-pip-version-check", ...packages] },
      ];
    case "npm":
      writeFileSync(join(folder, "package.json"), '{ "private": true }');
      return [{ command: "npm", args: ["install", "--no-audit", "--no-fund", "--silent", "--prefix", folder, ...packages] }];
    case "go":
      return packages.map((module) => ({ command: "go", args: ["install", module], env: { GOBIN: join(folder, "bin") } }));
    case "apt":
      if (spawnSync(installation.program, ["--version"], { stdio: "ignore" }).error === undefined) return [];
      return [
        { command: "apt-get", args: ["update", "-qq"] },
        { command: "apt-get", args: ["install", "-y", "-qq", "--no-install-recommends", ...packages] },
      ];
  }
}

/** Runs steps until one fails. Returns why it failed. */
function runSteps(steps: readonly Step[]): Problem | undefined {
  for (const { command, args, env } of steps) {
    const { status, error, stderr } = spawnSync(command, args, {
      env: { ...process.env, ...env },
      timeout: STEP_TIMEOUT_MS,
      stdio: ["ignore", "ignore", "pipe"],
      encoding: "utf8",
    });
    const isSlow = (error as NodeJS.ErrnoException | undefined)?.code === "ETIMEDOUT" || /timed? ?out/i.test(stderr ?? "");
    if (error !== undefined) return { problem: `${command}: ${error.message}`, isSlow };
    const last = stderr.trim().split("\n").at(-1);
    if (status !== 0) return { problem: `${command} ${args[0]}: ${last || `exit code ${status}`}`, isSlow };
  }
  return undefined;
}
