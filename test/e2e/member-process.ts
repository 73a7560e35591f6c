import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const BIN = join(import.meta.dirname, "..", "..", "server", "bin", "frontcache.js");

/** Read by a member before its own code: it ends with this process, however that ends. */
const END_WITH_PARENT = join(import.meta.dirname, "..", "end-with-parent.cjs");

/** Members that run: they end before the test process does. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
// Where the runner was killed, its worker would go on to the end of the file.
process.once("disconnect", () => process.exit(1));

/** A directory that is removed with the test. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "frontcache-test-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export interface MemberOptions {
  /** The S3 endpoint. */
  readonly endpoint: string;
  /** With a budget behind it (`path:size`), or of 16 GiB: on this machine's disk others may have taken nearly everything. */
  readonly cacheDirectory: string;
  /** The cache directory is a file system of its own, and its only limit. */
  readonly ownDisk?: boolean;
  /** Further flags of `serve`. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The program; the work tree's where none is given. */
  readonly program?: string;
}

/** The environment of a member whose origin is an emulator. */
export function memberEnvironment(endpoint: string, extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return {
    ...process.env,
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: "test",
    AWS_SECRET_ACCESS_KEY: "test",
    // Tests count the origin's requests; an extra one now and then would make that a matter of luck.
    FRONTCACHE_HEDGE: "false",
    // So does a read that a member refuses because this machine is busy.
    FRONTCACHE_OVERLOAD_AFTER: "never",
    ...extra,
  };
}

/** A member as its own process, started as a user starts it. */
export class MemberProcess implements AsyncDisposable {
  readonly #child: ChildProcess;

  /** host:port of the gRPC listener. */
  grpc = "";
  /** host:port of the HTTP listener. */
  http = "";
  /** Every log line. */
  readonly log: Record<string, unknown>[] = [];
  /** What it wrote to standard error. */
  stderr = "";
  readonly #exited: Promise<number | null>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    running.add(child);
    this.#exited = once(child, "exit").then(([code]) => {
      running.delete(child);
      return code as number | null;
    });
    child.stderr?.on("data", (text: Buffer) => {
      this.stderr += text.toString();
    });
  }

  /** Starts a member and waits until it listens. Rejects with what it printed where it ends before. */
  static async start(options: MemberOptions): Promise<MemberProcess> {
    const { endpoint, cacheDirectory, ownDisk = false, flags = [], env = {}, program = BIN } = options;
    const defaults = flags.includes("--discovery") ? [] : ["--discovery", "none"];
    const free = (flag: string): string[] => (flags.includes(flag) ? [] : [flag, "127.0.0.1:0"]);
    const address = [...free("--listen"), ...free("--http-listen")];
    const args = [
      "--require",
      END_WITH_PARENT,
      program,
      "serve",
      ...address,
      ...defaults,
      "--cache-dirs",
      ownDisk || cacheDirectory.includes(":") ? cacheDirectory : `${cacheDirectory}:16GiB`,
      "--s3-force-path-style",
      "true",
      ...flags,
    ];
    const child = spawn(process.execPath, args, { env: memberEnvironment(endpoint, env), stdio: ["pipe", "pipe", "pipe"] });
    const member = new MemberProcess(child);
    await member.#listening();
    return member;
  }

  /** How often this member found another one unreachable. */
  get lostOthers(): number {
    return this.log.filter(({ event }) => event === "member-unreachable").length;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Whether it has not ended yet. */
  get runs(): boolean {
    return running.has(this.#child);
  }

  /** Resident bytes now: in all, and those of them that are no pages of mapped files. */
  get residentBytes(): { readonly all: number; readonly anonymous: number } {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    const kilobytes = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)![1]);
    return { all: kilobytes("VmRSS") * 1024, anonymous: kilobytes("RssAnon") * 1024 };
  }

  /** Ends it in good order; resolves to its exit code. */
  stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    this.#child.kill(signal);
    return this.#exited;
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
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
