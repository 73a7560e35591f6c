import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import type { LoadGenerator, LoadOrder } from "../load/http-load.js";
import { canPin, cpuMs, OTHER_CPUS, pin, portOf, SERVER_CPU } from "../machine.js";
import type { OriginProcess } from "../origin-process.js";
import type { ClientDone, ClientOrder } from "./client-main.js";

/** How the client of a build connects. */
export interface ClientOptions {
  readonly transport: "auto" | "grpc";
  /** Whether the client reads cached blocks from the member's files. */
  readonly fromFiles: boolean;
}

/** What one round measured. */
export interface Round {
  readonly readsPerSecond: number;
  /** CPU microseconds of the member and, if the client is measured too, of the client. */
  readonly cpuUs: number;
}

/** A member and a client of one checkout, each a process. */
export class Build implements AsyncDisposable {
  readonly member: MemberProcess;
  readonly #client: ChildProcess;
  readonly #directory: AsyncDisposable;

  private constructor(member: MemberProcess, client: ChildProcess, directory: AsyncDisposable) {
    this.member = member;
    this.#client = client;
    this.#directory = directory;
  }

  /** Starts both from a built checkout. `isPinned`: the member runs on one CPU, the client on the others. */
  static async start(
    checkout: string,
    origin: OriginProcess,
    { transport, fromFiles }: ClientOptions,
    isPinned: boolean,
  ): Promise<Build> {
    const directory = await temporaryDirectory();
    const program = join(checkout, "server", "bin", "frontcache.js");
    const member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path, program });
    const options = { endpoint: member.grpc, transport, localVolumes: fromFiles ? [directory.path] : [] };
    const main = join(import.meta.dirname, "client-main.ts");
    const client = fork(main, [checkout, JSON.stringify(options)], { execArgv: ["--import", "tsx"] });
    client.setMaxListeners(0);
    await answerOf(client);
    if (isPinned) {
      pin(member.pid, SERVER_CPU);
      pin(client.pid!, OTHER_CPUS);
    }
    return new Build(member, client, directory);
  }

  /** Reads by the client. */
  async read(order: ClientOrder): Promise<Round> {
    const before = cpuMs(this.member.pid);
    this.#client.send(order);
    const { reads, ms, cpuMs: clientMs } = (await answerOf(this.#client)) as ClientDone;
    const memberMs = cpuMs(this.member.pid) - before;
    return { readsPerSecond: (reads / ms) * 1e3, cpuUs: ((memberMs + clientMs) / reads) * 1e3 };
  }

  /** Requests of the load generator to the member's HTTP listener. */
  async serve(load: LoadGenerator, order: Omit<LoadOrder, "port">): Promise<Round> {
    const before = cpuMs(this.member.pid);
    const port = portOf(this.member.http);
    const { requests, failures, seconds } = await load.run({ ...order, port }, canPin() ? OTHER_CPUS : undefined);
    if (failures > 0) throw new Error(`${failures} of ${requests} requests failed`);
    return { readsPerSecond: requests / seconds, cpuUs: ((cpuMs(this.member.pid) - before) / requests) * 1e3 };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.disconnect();
    await this.member[Symbol.asyncDispose]();
    await this.#directory[Symbol.asyncDispose]();
  }
}

/** The next message of a child process. Rejects if the process ends first. */
async function answerOf(child: ChildProcess): Promise<unknown> {
  const cleanUp = new AbortController();
  const { signal } = cleanUp;
  const ended = once(child, "exit", { signal }).then(([exitCode]) => {
    throw new Error(`the client ended with exit code ${exitCode}`);
  });
  ended.catch(() => {});
  try {
    return ((await Promise.race([once(child, "message", { signal }), ended])) as unknown[])[0];
  } finally {
    cleanUp.abort();
  }
}
