import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { CacheClient } from "@frontcache/client";
import { CacheServiceClient } from "@frontcache/client/grpc";
import { type MemberList, Membership } from "@frontcache/proto";
import { credentials } from "@grpc/grpc-js";
import { expect } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { claimPorts, hostOf } from "./addresses.js";
import { type Place, type Pods, staticPods } from "./cluster-pods.js";
import {
  connectClient,
  lostOthers,
  type MemberOptions,
  MemberProcess,
  type TestMember,
  temporaryDirectory,
} from "./member-process.js";
import { type Fetch, MAX_STRAYS, OriginFetches } from "./origin-fetches.js";
import { BLOCK_BYTES, type TestObject } from "./test-objects.js";

/** The options that a cluster determines itself. */
export interface Surroundings {
  /** A temporary directory, removed with the cluster. */
  readonly directory: string;
  readonly places: readonly Place[];
  /** The gRPC port of all members; their HTTP listeners use the next port. */
  readonly port: number;
}

export interface ClusterOptions {
  /** The names of the initial members. */
  readonly names: readonly string[];
  /** The discovery of the members; absent: a static list. */
  readonly pods?: (surroundings: Surroundings) => Promise<Pods>;
  /**
   * The members that are processes of their own, because the test kills or stops them, or reads what they print; the others run in the
   * process of the test, which costs a tenth. Absent: all are processes.
   */
  readonly processes?: readonly string[];
  /** Further flags of every member. */
  readonly flags?: readonly string[];
  /** The size limit of each member's volume, for example `64MiB`; absent: its whole file system. */
  readonly volumeSize?: string;
  /** The flags that set the sizes of blocks and parts; absent: 1 MiB, so that few bytes are many blocks. */
  readonly sizes?: readonly string[];
}

const SMALL_SIZES = ["--block-size", "1MiB", "--part-size", "1MiB"];

/** Members with one origin. Each has its own loopback address; all use the same ports. */
export class Cluster implements AsyncDisposable {
  readonly origin: S3Emulator;
  readonly directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  readonly port: number;
  readonly pods: Pods;
  readonly #flags: readonly string[];
  readonly #volumeSize: string | undefined;
  readonly #sizes: readonly string[];

  readonly #processes: readonly string[] | undefined;

  readonly #members = new Map<string, TestMember & { readonly host: string }>();
  readonly #clients: CacheClient[] = [];
  /** All members since the start, including those that have ended. */
  readonly #lives: TestMember[] = [];
  #lostBefore = 0;
  /** Blocks of the objects that were put. */
  #blocks = 0;
  readonly #fetches: OriginFetches;

  private constructor(
    origin: S3Emulator,
    directory: Awaited<ReturnType<typeof temporaryDirectory>>,
    port: number,
    pods: Pods,
    { processes, flags = [], volumeSize, sizes = SMALL_SIZES }: ClusterOptions,
  ) {
    this.origin = origin;
    this.directory = directory;
    this.port = port;
    this.pods = pods;
    this.#processes = processes;
    this.#flags = flags;
    this.#volumeSize = volumeSize;
    this.#sizes = sizes;
    this.#fetches = new OriginFetches(origin, BLOCK_BYTES);
  }

  /** Starts the members and waits until all have the complete member list. */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const { names, pods } = options;
    const [origin, directory, port] = [await S3Emulator.start(), await temporaryDirectory(), await claimPorts()];
    const places = names.map((name, index) => ({ name, host: hostOf(index) }));
    const discovery = pods === undefined ? staticPods(places, port) : await pods({ directory: directory.path, places, port });
    const cluster = new Cluster(origin, directory, port, discovery, options);
    await Promise.all(places.map((place) => cluster.join(place)));
    if (discovery.follow) await cluster.agreed();
    return cluster;
  }

  /** Names of the running members, sorted. */
  get names(): string[] {
    return [...this.#members.keys()].sort();
  }

  /** Origin GETs since the start or the last `forget`. */
  get fetches(): readonly Fetch[] {
    return this.#fetches.all;
  }

  /** Resets the record of origin GETs. */
  forget(): void {
    this.#fetches.forget();
    this.#lostBefore = this.#lost;
  }

  /**
   * Returns the allowed number of unnecessary GETs since the last `forget`: 0. On a busy machine members may find another one
   * unreachable, or learn late that it shuts down. Then each of them may fetch each block.
   */
  get mostUnneeded(): number {
    if (this.#lost === this.#lostBefore) return 0;
    return Math.max(MAX_STRAYS, this.#blocks * this.#members.size);
  }

  get #lost(): number {
    return this.#lives.reduce((sum, member) => sum + lostOthers(member), 0);
  }

  member(name: string): TestMember {
    return this.#members.get(name)!;
  }

  /** Returns a member that is a process. */
  process(name: string): MemberProcess {
    const member = this.member(name);
    if (member instanceof MemberProcess) return member;
    throw new Error(`${name} is not a process: add it to the option processes`);
  }

  hostOf(name: string): string {
    return this.#members.get(name)!.host;
  }

  addressOf(name: string): string {
    return `${this.hostOf(name)}:${this.port}`;
  }

  /** Starts a member on its existing directory, and reports it ready when it serves. */
  async join({ name, host }: Place): Promise<void> {
    await this.pods.created({ name, host });
    await this.#serve({ name, host });
  }

  /** Restarts the container of the same pod after a crash. */
  async startAgain(name: string): Promise<void> {
    await this.#serve({ name, host: this.hostOf(name) });
  }

  /** Shuts a member down as Kubernetes does: marks the pod as terminating, then ends the member; resolves with the exit code. */
  async shutDown(name: string): Promise<number | null> {
    const terminating = this.pods.terminating(name);
    const code = await this.#members.get(name)!.stop();
    await terminating;
    this.#members.delete(name);
    await this.pods.removed(name);
    return code;
  }

  /** Kills a member with SIGKILL, and removes its pod: it never comes back. */
  async lose(name: string): Promise<void> {
    await this.process(name).kill();
    this.#members.delete(name);
    await this.pods.removed(name);
  }

  /** Kills a member with SIGKILL. Its pod stays and becomes not ready. */
  async kill(name: string): Promise<void> {
    await this.process(name).kill();
    await this.pods.unready(name);
  }

  /** Returns a client of one member's address; it is closed with the cluster. */
  async client(name = this.names[0]!): Promise<CacheClient> {
    const client = await connectClient({ endpoint: this.addressOf(name) });
    this.#clients.push(client);
    return client;
  }

  /** Resolves when every running member has the list of all running members, or of `names`. */
  async agreed(names = this.names, limitMs = 60_000): Promise<void> {
    await Promise.all(this.names.map((name) => this.listedBy(name, names, limitMs)));
  }

  /** Resolves with a member's list when it contains exactly these members; rejects with its last list after a timeout. */
  async listedBy(name: string, names: readonly string[], limitMs = 60_000): Promise<Membership> {
    const expected = [...names].sort().join();
    return this.talk(name, async (client) => {
      const watch = client.watchMembers({});
      const limit = setTimeout(() => watch.cancel(), limitMs);
      let listed = "nothing";
      try {
        for await (const message of watch as AsyncIterable<MemberList>) {
          const list = Membership.fromMessage(message);
          listed = list.members.map((member) => member.name).join();
          if (listed === expected) return list;
        }
        throw new Error("the watch ended");
      } catch (cause) {
        throw new Error(`${name} lists ${listed} instead of ${expected} after ${limitMs} ms`, { cause });
      } finally {
        clearTimeout(limit);
        watch.cancel();
      }
    });
  }

  /** Calls one member, independent of ownership. */
  async talk<Answer>(name: string, work: (client: CacheServiceClient) => Promise<Answer>): Promise<Answer> {
    const client = new CacheServiceClient(this.addressOf(name), credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
    });
    try {
      return await work(client);
    } finally {
      client.close();
    }
  }

  /** Puts objects with the given numbers of blocks; each has its own seed. */
  put(objects: number, blocks: number): TestObject[] {
    this.#blocks += objects * blocks;
    return Array.from({ length: objects }, (_, index) => {
      const key = `object-${index}`;
      const seed = index + 1;
      return {
        url: `s3://bucket/${key}`,
        key,
        version: this.origin.putRamp("bucket", key, blocks * BLOCK_BYTES, seed),
        blocks,
        seed,
      };
    });
  }

  /** The cache directory of a member. */
  cacheOf(name: string): string {
    return join(this.directory.path, name);
  }

  /** Returns the number of block files of a member. */
  async cachedBlocks(name: string): Promise<number> {
    const files = await readdir(join(this.cacheOf(name), "v1"), { recursive: true });
    return files.filter((file) => file.endsWith(".blk")).length;
  }

  /** Ends everything. Fails the test if a member exits with another code than 0, or has logged a defect. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    const running = [...this.#members.values()].filter((member) => member.runs);
    const codes = await Promise.all(running.map((member) => member.stop()));
    const defects = [...this.#members.values()].flatMap(({ log }) => log.filter(({ level }) => level === "error"));
    await Promise.all([this.pods.close(), this.origin.close()]);
    await this.directory[Symbol.asyncDispose]();
    expect({ codes, defects }).toEqual({ codes: running.map(() => 0), defects: [] });
  }

  async #serve({ name, host }: Place): Promise<void> {
    const listen = ["--listen", `${host}:${this.port}`, "--http-listen", `${host}:${this.port + 1}`];
    const flags = ["--name", name, ...listen, "--advertise", host, ...this.pods.flagsOf(name)];
    // Others learn meanwhile that it shuts down. Static lists do not change.
    const leaveAfter = this.pods.follow ? "1s" : "0";
    const settings = [...this.#sizes, "--leave-after", leaveAfter, "--hedge", "false"];
    const member = await this.#start(name, {
      endpoint: this.origin.endpoint,
      cacheDirectory: this.#volumeSize === undefined ? this.cacheOf(name) : `${this.cacheOf(name)}:${this.#volumeSize}`,
      flags: [...flags, ...settings, ...this.#flags],
      env: { AWS_ACCESS_KEY_ID: name },
    });
    this.#lives.push(member);
    this.#members.set(name, Object.assign(member, { host }));
    await this.pods.ready(name);
  }

  async #start(name: string, options: MemberOptions): Promise<TestMember> {
    if (this.#processes?.includes(name) ?? true) return MemberProcess.start(options);
    // Imported here, because it loads the server, which other tests do not need.
    const { MemberInProcess } = await import("./member-in-process.js");
    return MemberInProcess.start(options);
  }
}
