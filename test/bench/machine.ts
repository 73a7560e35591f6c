import { execFileSync } from "node:child_process";
import { accessSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, release, totalmem } from "node:os";
import { delimiter, join } from "node:path";

const require = createRequire(import.meta.url);

/** CPU time that a process has taken, milliseconds; other processes' in steps of 10. */
export function cpuMs(pid: number): number {
  if (pid === process.pid) {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e3;
  }
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // Behind the name, which may have spaces: utime and stime are the 14th and 15th field, in ticks of a hundredth of a second.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Bytes that a process has for itself: no pages of files. */
export function anonymousBytes(pid: number): number {
  return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]) * 1024;
}

/** Whether a program can be started by its name; where it is, else undefined. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin"];
  return folders
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path);
        return true;
      } catch {
        return false;
      }
    });
}

/** Holds a process with all its threads to some CPUs (`0`, `1-3`). False: this machine can't, or has but one. */
export function pin(pid: number, to: string): boolean {
  if (cpus().length < 2 || findProgram("taskset") === undefined) return false;
  execFileSync("taskset", ["-acp", to, String(pid)], { stdio: "ignore" });
  return true;
}

function packageVersion(name: string): string {
  return (require(`${name}/package.json`) as { version: string }).version;
}

function nginxVersion(): string {
  const nginx = findProgram("nginx");
  if (nginx === undefined) return "not installed";
  // It tells its version on standard error.
  return execFileSync("sh", ["-c", `"$0" -v 2>&1`, nginx]).toString().trim().replace(/^.*\//, "");
}

/** What figures were measured on and with. */
export function describeMachine(): Record<string, string | number> {
  return {
    cpus: cpus().length,
    cpu: cpus()[0]?.model ?? "unknown",
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    undici: packageVersion("undici"),
    "@aws-sdk/client-s3": packageVersion("@aws-sdk/client-s3"),
    "@grpc/grpc-js": packageVersion("@grpc/grpc-js"),
    nginx: nginxVersion(),
  };
}
