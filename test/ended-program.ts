import { type SpawnOptions, spawn } from "node:child_process";

/** A program that takes longer is killed. */
const RUN_TIMEOUT_MS = 300_000;

/** How a program ended. */
export interface Ended {
  /** Null: a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  /** Both outputs. */
  readonly output: string;
}

/** Runs a program to its end. Rejects if it can't be started. */
export function run(command: string, args: readonly string[], options: Pick<SpawnOptions, "cwd" | "env"> = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, output] = ["", ""];
    const timer = setTimeout(() => child.kill("SIGKILL"), RUN_TIMEOUT_MS);
    child.stdout.on("data", (text: Buffer) => {
      stdout += text;
      output += text;
    });
    child.stderr.on("data", (text: Buffer) => {
      output += text;
    });
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, output });
    });
  });
}
