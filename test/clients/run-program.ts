import { basename, join } from "node:path";
import { temporaryDirectory } from "../e2e/member-process.js";
import { run } from "../ended-program.js";
import { BUCKET } from "./objects.js";

/** How a program in `scripts/` is started, by the ending of its name. */
const STARTS: Readonly<Record<string, (script: string, folder: string) => readonly [command: string, ...args: string[]]>> = {
  py: (script, folder) => [join(folder, "bin", "python3"), script],
  mjs: (script) => [process.execPath, script],
  sh: (script) => ["bash", script],
  java: (script, folder) => ["java", "-cp", join(folder, "lib", "*"), script],
  go: (script, folder) => [join(folder, "bin", basename(script, ".go"))],
};

/** A program in `scripts/` and what it has to know. */
export interface Program {
  readonly script: string;
  readonly args?: readonly string[] | undefined;
  /** The URL of the store, or of a member in its place. */
  readonly endpoint: string;
  /** Its installation's, and further variables. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Runs a program in a folder of its own. Returns why it failed, if it did. */
export async function runProgram({
  script,
  args = [],
  endpoint,
  environment,
}: Program): Promise<{ readonly stdout: string; readonly problem: string | undefined }> {
  const start = STARTS[script.split(".").at(-1)!]!;
  const [command, ...before] = start(join(import.meta.dirname, "scripts", script), environment.CLIENT_FOLDER ?? "");
  const directory = await temporaryDirectory();
  try {
    const env = {
      PATH: process.env.PATH,
      HOME: directory.path,
      TMPDIR: directory.path,
      LC_ALL: "C.UTF-8",
      ENDPOINT: endpoint,
      BUCKET,
      WORK: directory.path,
      AWS_ACCESS_KEY_ID: "any",
      AWS_SECRET_ACCESS_KEY: "any-secret",
      AWS_REGION: "us-east-1",
      AWS_DEFAULT_REGION: "us-east-1",
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_CONFIG_FILE: "/dev/null",
      NO_GCE_CHECK: "true",
      ...environment,
    };
    const { code, stdout, output } = await run(command, [...before, ...args], { env });
    const problem = code === 0 ? undefined : `it ended with ${code ?? "a signal"}: ${output.trim().slice(-600)}`;
    return { stdout, problem };
  } finally {
    await directory[Symbol.asyncDispose]();
  }
}
