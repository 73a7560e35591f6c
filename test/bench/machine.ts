import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type AddressInfo, createServer } from "node:net";
import { cpus, release, totalmem } from "node:os";
import { delimiter, join } from "node:path";

const require = createRequire(import.meta.url);

/** User and system CPU time that a process and its running threads have taken, milliseconds. */
export function cpuMs(pid: number): number {
  if (pid === process.pid) {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e3;
  }
  return threadsCpuMs(pid) ?? ticksMs(pid);
}

/** From the scheduler's statistics, in nanoseconds: short rounds need it. Undefined: this kernel keeps none, or a thread has just ended. */
function threadsCpuMs(pid: number): number | undefined {
  const threads = `/proc/${pid}/task`;
  try {
    return readdirSync(threads).reduce((ms, thread) => {
      // The first field is the time on a CPU.
      const [nanoseconds] = readFileSync(`${threads}/${thread}/schedstat`, "latin1").split(" ");
      return ms + Number(nanoseconds) / 1e6;
    }, 0);
  } catch {
    return undefined;
  }
}

/** In steps of 10 ms. */
function ticksMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // The name may contain spaces. Fields 14 and 15 are utime and stime, in ticks of 10 ms.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** CPU time that several processes have taken, milliseconds. */
export function cpuMsOfAll(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuMs(pid), 0);
}

/** Anonymous memory of a process, bytes: without pages of files. */
export function anonymousBytes(pid: number): number {
  return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]) * 1024;
}

/** The path of a program, or undefined if it is not installed. */
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

/** CPU 0, for the servers that are measured. */
export const SERVER_CPU = "0";
/** All other CPUs, for the origin and the load generator. */
export const OTHER_CPUS = `1-${Math.max(1, cpus().length - 1)}`;

/** Whether processes can be restricted to CPUs: there are two or more, and `taskset` is installed. */
export function canPin(): boolean {
  return cpus().length > 1 && findProgram("taskset") !== undefined;
}

/** Restricts a process with all its threads to some CPUs (`0`, `1-3`). Returns false if this machine cannot. */
export function pin(pid: number, cpuList: string): boolean {
  if (!canPin()) return false;
  execFileSync("taskset", ["-acp", cpuList, String(pid)], { stdio: "ignore" });
  return true;
}

/** How much time of all CPUs the hypervisor gave to others between two moments, 0 to 1. */
export class StolenTime {
  #before = ticksOfAllCpus();

  /** The share since the last call, or since the start. */
  share(): number {
    const now = ticksOfAllCpus();
    const spent = now.map((ticks, at) => ticks - this.#before[at]!);
    this.#before = now;
    // The eighth number is stolen time.
    return (
      spent[7]! /
      Math.max(
        1,
        spent.reduce((sum, ticks) => sum + ticks, 0),
      )
    );
  }
}

function ticksOfAllCpus(): readonly number[] {
  const [line] = readFileSync("/proc/stat", "latin1").split("\n");
  return line!.split(/\s+/).slice(1, 9).map(Number);
}

/**
 * Keeps CPUs awake by a loop that runs only while nothing else does: waking an idle CPU of a virtual machine costs the sender of a
 * packet 10 to 25 us. Without `chrt` and `taskset` it does nothing.
 */
export function keepAwake(cpuList: string): Disposable {
  if (!canPin() || findProgram("chrt") === undefined) return { [Symbol.dispose]() {} };
  const loop = spawn("taskset", ["-c", cpuList, "chrt", "-i", "0", process.execPath, "-e", "for (;;);"], { stdio: "ignore" });
  return { [Symbol.dispose]: () => void loop.kill("SIGKILL") };
}

/**
 * Has a process that ends at once use as much memory as a read takes. A hypervisor takes back what its guest does not use, and each page
 * of it that is used again costs whoever gets it several microseconds of CPU: without this, the page cache of one reader costs three times
 * that of another.
 */
export function touchMemory(bytes: number): void {
  execFileSync(process.execPath, ["-e", `Buffer.alloc(${bytes}, 1)`]);
}

/** A port of loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** The port of `host:port`. */
export function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}

function packageVersion(name: string): string {
  return (require(`${name}/package.json`) as { version: string }).version;
}

function nginxVersion(): string {
  const nginx = findProgram("nginx");
  if (nginx === undefined) return "not installed";
  // nginx prints its version to standard error.
  return execFileSync("sh", ["-c", `"$0" -v 2>&1`, nginx]).toString().trim().replace(/^.*\//, "");
}

/** How the kernel decides the rate of TCP connections. With `bbr`, connections between the same processes differ. */
function congestionControl(): string {
  try {
    return readFileSync("/proc/sys/net/ipv4/tcp_congestion_control", "latin1").trim();
  } catch {
    return "unknown";
  }
}

/** The machine and the versions that figures were measured with. */
export function describeMachine(): Record<string, string | number> {
  return {
    cpus: cpus().length,
    cpu: cpus()[0]?.model ?? "unknown",
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    congestionControl: congestionControl(),
    node: process.version,
    undici: packageVersion("undici"),
    "@aws-sdk/client-s3": packageVersion("@aws-sdk/client-s3"),
    "@grpc/grpc-js": packageVersion("@grpc/grpc-js"),
    nginx: nginxVersion(),
  };
}
