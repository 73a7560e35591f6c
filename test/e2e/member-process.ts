import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { CacheClient, type ConnectOptions } from "@frontcache/client";

/** The program of the build. */
export const BUILT_PROGRAM = join(import.meta.dirname, "..", "..", "server", "bin", "frontcache.js");

/** The program that tests run: in the process tier the bundle of the build, which starts faster. */
export const PROGRAM = process.env.TESTED_PROGRAM ?? BUILT_PROGRAM;

/** Loaded by members before their own code: it ends them when this process ends for any reason. */
const END_WITH_PARENT = join(import.meta.dirname, "..", "end-with-parent.cjs");

/** Running members; they are ended before the test process. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
// If the test runner was killed, its worker would continue to the end of the file.
process.once("disconnect", () => process.exit(1));

/** A directory that is removed with the test. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "frontcache-test-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Time in which members must answer in tests that are not about members that do not: on a busy machine one may stand still for long. */
export const MEMBER_TIMEOUT = "60s";

/** Connects a client that gives members as much time as members give each other in tests, and reads as much as a busy machine takes. */
export function connectClient(options: ConnectOptions): Promise<CacheClient> {
  return CacheClient.connect({ connectTimeoutMs: 60_000, deadlineMs: 120_000, ...options });
}

export interface MemberOptions {
  /** The S3 endpoint. */
  readonly endpoint: string;
  /** Optionally with a size limit (`path:size`). The default limit is 16 GiB, because the disk may be nearly full. */
  readonly cacheDirectory: string;
  /** The cache directory is a separate file system, whose size is the only limit. */
  readonly ownDisk?: boolean;
  /** Further flags of `serve`. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The program; default: `PROGRAM`. */
  readonly program?: string;
}

/** A member that a test has started, in a process of its own or in the test's. */
export interface TestMember extends AsyncDisposable {
  /** host:port of the gRPC listener. */
  readonly grpc: string;
  /** host:port of the HTTP listener. */
  readonly http: string;
  /** host:port of the S3 endpoint. */
  readonly s3: string;
  /** Every log line. */
  readonly log: readonly Record<string, unknown>[];
  /** Whether it has not ended. */
  readonly runs: boolean;
  /** Shuts it down; resolves with the exit code. */
  stop(): Promise<number | null>;
}

/** Returns the flags of `serve`: those of the options, behind those that tests need. */
export function memberFlags({ cacheDirectory, ownDisk = false, flags = [] }: MemberOptions, hasS3Listener = true): string[] {
  const free = (flag: string): string[] => (flags.includes(flag) ? [] : [flag, "127.0.0.1:0"]);
  return [
    ...free("--listen"),
    ...free("--http-listen"),
    ...(hasS3Listener ? free("--s3-listen") : []),
    ...(flags.includes("--discovery") ? [] : ["--discovery", "none"]),
    "--cache-dirs",
    ownDisk || cacheDirectory.includes(":") ? cacheDirectory : `${cacheDirectory}:16GiB`,
    "--s3-force-path-style",
    "true",
    ...flags,
  ];
}

/** Returns the number of times that a member considered another one unreachable. */
export function lostOthers({ log }: Pick<TestMember, "log">): number {
  return log.filter(({ event }) => event === "member-unreachable").length;
}

/** The environment of a member whose origin is an emulator. */
export function memberEnvironment(endpoint: string, extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return {
    ...process.env,
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: "test",
    AWS_SECRET_ACCESS_KEY: "test",
    // Emulators speak plain HTTP. Parsing this machine's authorities would cost each member 0.1 s of processor time, twice.
    AWS_CA_BUNDLE: "",
    NODE_EXTRA_CA_CERTS: "",
    // Tests count origin requests, and occasional hedged requests would make the counts random.
    FRONTCACHE_HEDGE: "false",
    // Reads that a member rejects on a busy machine would, too.
    FRONTCACHE_OVERLOAD_AFTER: "never",
    FRONTCACHE_MEMBER_TIMEOUT: MEMBER_TIMEOUT,
    ...extra,
  };
}

/** A member as a process, started as users do. */
export class MemberProcess implements TestMember {
  readonly #child: ChildProcess;

  /** host:port of the gRPC listener. */
  grpc = "";
  /** host:port of the HTTP listener. */
  http = "";
  /** host:port of the S3 endpoint. */
  s3 = "";
  /** Every log line. */
  readonly log: Record<string, unknown>[] = [];
  /** Its output on standard error. */
  stderr = "";
  readonly #exited: Promise<number | null>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    // Its output may end after it: `log` is complete when the streams are closed.
    this.#exited = once(child, "close").then(([code]) => code as number | null);
    child.stderr?.on("data", (text: Buffer) => {
      this.stderr += text.toString();
    });
  }

  /** Starts a member and waits until it listens. If it ends before, rejects with its output. */
  static async start(options: MemberOptions): Promise<MemberProcess> {
    const { endpoint, env = {}, program = PROGRAM } = options;
    const hasS3Listener = [PROGRAM, BUILT_PROGRAM].includes(program);
    const args = ["--require", END_WITH_PARENT, program, "serve", ...memberFlags(options, hasS3Listener)];
    const child = spawn(process.execPath, args, { env: memberEnvironment(endpoint, env), stdio: ["pipe", "pipe", "pipe"] });
    const member = new MemberProcess(child);
    await member.#listening();
    return member;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Whether the process is running. */
  get runs(): boolean {
    return running.has(this.#child);
  }

  /** Returns resident bytes: in total, and without pages of mapped files. */
  get residentBytes(): { readonly all: number; readonly anonymous: number } {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    const kilobytes = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)![1]);
    return { all: kilobytes("VmRSS") * 1024, anonymous: kilobytes("RssAnon") * 1024 };
  }

  /** Shuts it down with SIGTERM; resolves with the exit code. */
  stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    this.#child.kill(signal);
    return this.#exited;
  }

  /** Kills it with SIGKILL. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  /** Stops the process (SIGSTOP): the kernel still accepts connections for it, but nothing is answered. */
  freeze(): void {
    this.#child.kill("SIGSTOP");
  }

  /** Continues after `freeze`. Harmless when repeated. */
  thaw(): void {
    this.#child.kill("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (running.has(this.#child)) await this.kill();
  }

  async #listening(): Promise<void> {
    const lines = createInterface({ input: this.#child.stdout! });
    const listening = new Promise<void>((resolve) => {
      lines.on("line", (line) => {
        const entry = line.startsWith("{") ? JSON.parse(line) : { event: "text", line };
        this.log.push(entry);
        if (entry.event !== "listening") return;
        this.grpc = entry.grpc;
        this.http = entry.http;
        this.s3 = entry.s3;
        resolve();
      });
    });
    const ended = this.#exited.then((code) => {
      throw new Error(`the member ended with ${code} before it listened: ${this.stderr}${JSON.stringify(this.log)}`);
    });
    await Promise.race([listening, ended]);
    ended.catch(() => {});
  }
}
