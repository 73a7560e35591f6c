import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { basename, delimiter, join } from "node:path";
import { type Installation, installations } from "./clients.js";

/** Where clients are installed: never in the repository. */
const FOLDER = process.env.FRONTCACHE_CLIENTS ?? join(homedir(), ".cache", "frontcache-clients");

const SCRIPTS = join(import.meta.dirname, "scripts");

/** Timeout of one step of an installation: the largest, torch, has 3 GB. */
const STEP_TIMEOUT_MS = 1_200_000;

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
  const sources = installation.by === "go build" ? installation.sources : [];
  const digest = createHash("sha256").update(JSON.stringify(installation));
  for (const source of sources) digest.update(readFileSync(join(SCRIPTS, source)));
  const mark = join(folder, `installed-${digest.digest("hex").slice(0, 40)}`);
  const isInstalled = existsSync(mark);
  mkdirSync(folder, { recursive: true });
  const path = (bin: string): Installed => ({
    environment: { PATH: `${bin}${delimiter}${process.env.PATH}`, CLIENT_FOLDER: folder },
  });
  const problem = isInstalled ? undefined : runSteps(stepsOf(folder, installation));
  if (problem !== undefined) return problem;
  if (!isInstalled) writeFileSync(mark, "");
  if (installation.by === "npm") return path(join(folder, "node_modules", ".bin"));
  if (installation.by === "apt") return { environment: {} };
  return installation.by === "maven" ? { environment: { CLIENT_FOLDER: folder } } : path(join(folder, "bin"));
}

interface Step {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** A project of Maven that has the artifacts as its dependencies. */
function projectOf({ packages, alone = [] }: Extract<Installation, { by: "maven" }>): string {
  const dependency = (name: string, further: string): string => {
    const [group, artifact, version] = name.split(":");
    const names = `<groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version>`;
    return `<dependency>${names}${further}</dependency>`;
  };
  const nothingElse = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>";
  const dependencies = [...packages.map((name) => dependency(name, "")), ...alone.map((name) => dependency(name, nothingElse))];
  return (
    `<project><modelVersion>4.0.0</modelVersion><groupId>clients</groupId><artifactId>clients</artifactId><version>1</version>` +
    `<dependencies>${dependencies.join("")}</dependencies></project>`
  );
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
    case "go build":
      for (const source of installation.sources) copyFileSync(join(SCRIPTS, source), join(folder, source));
      writeFileSync(join(folder, "go.mod"), "module client\n\ngo 1.24\n");
      return [
        { command: "go", args: ["get", ...packages], cwd: folder },
        ...installation.sources.map((source) => ({
          command: "go",
          args: ["build", "-o", join(folder, "bin", basename(source, ".go")), source],
          cwd: folder,
        })),
      ];
    case "maven":
      writeFileSync(join(folder, "pom.xml"), projectOf(installation));
      return [
        {
          command: "mvn",
          args: ["-q", "-B", "dependency:copy-dependencies", `-DoutputDirectory=${join(folder, "lib")}`],
          cwd: folder,
        },
      ];
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
  for (const { command, args, env, cwd } of steps) {
    const { status, error, stderr } = spawnSync(command, args, {
      env: { ...process.env, ...env },
      cwd,
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
