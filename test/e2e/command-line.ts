import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { MEMBER_TIMEOUT, PROGRAM } from "./member-process.js";

/** The result of a command. */
export interface Finished {
  readonly exitCode: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/**
 * Runs `frontcache` to its end, without frontcache's settings of this environment, and with a long --member-timeout. `input` is its
 * standard input; `started` gets the process.
 */
export async function frontcache(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  input?: string,
  started: (child: ChildProcess) => void = () => {},
): Promise<Finished> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("FRONTCACHE_"));
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    // Parsing this machine's authorities would cost each command 0.1 s of processor time.
    env: { ...Object.fromEntries(inherited), NODE_EXTRA_CA_CERTS: "", FRONTCACHE_MEMBER_TIMEOUT: MEMBER_TIMEOUT, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  started(child);
  child.stdin.on("error", () => {}).end(input);
  const stdout: Buffer[] = [];
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk;
  });
  const [exitCode] = (await once(child, "close")) as [number | null];
  return { exitCode, stdout: Buffer.concat(stdout), stderr };
}
