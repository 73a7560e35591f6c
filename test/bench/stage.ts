import { CacheClient } from "@frontcache/client";
import { MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { freePort } from "./machine.js";
import { OriginProcess } from "./origin-process.js";

export const KiB = 1 << 10;
export const MiB = 1 << 20;
export const GiB = 1 << 30;

/** An object of the origin. */
export interface StageObject {
  readonly url: string;
  readonly key: string;
  readonly version: string;
  readonly size: number;
}

/** One member in front of an origin, and a client of it, each a process of its own. */
export interface Stage {
  readonly origin: OriginProcess;
  readonly member: MemberProcess;
  readonly client: CacheClient;
  /** The member's one volume. */
  readonly cacheDirectory: string;
  /** Puts an object, and reads it twice through the member, which has it cached then. */
  hot(size: number): Promise<StageObject>;
}

/** How the member is started. */
export interface StageOptions {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts the processes, runs `measure` on them, and ends them. */
export async function onStage<Result>(measure: (stage: Stage) => Promise<Result>, options: StageOptions = {}): Promise<Result> {
  await using origin = await OriginProcess.start();
  await using directory = await temporaryDirectory();
  await using member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path, ...options });
  await using client = await CacheClient.connect({ endpoint: member.grpc });
  const hot = async (size: number): Promise<StageObject> => {
    const object = await origin.putObject(`hot-${size}`, size);
    for (let pass = 0; pass < 2; pass++) {
      for await (const _ of client.stream(object.url, 0, size, object.version));
    }
    return object;
  };
  return await measure({ origin, member, client, cacheDirectory: directory.path, hot });
}

/** Members that form one cluster. */
export class Cluster implements AsyncDisposable {
  readonly members: readonly MemberProcess[];
  readonly #directory: AsyncDisposable;

  private constructor(members: readonly MemberProcess[], directory: AsyncDisposable) {
    this.members = members;
    this.#directory = directory;
  }

  /** Starts members with a static member list; `flags` are further flags of each. */
  static async start(endpoint: string, size: number, flags: readonly string[] = []): Promise<Cluster> {
    const directory = await temporaryDirectory();
    const addresses: { name: string; grpc: string; http: string }[] = [];
    const used = new Set<number>();
    // A port that was free a moment ago is free again when the next one is asked for.
    const unusedPort = async (): Promise<number> => {
      let port = await freePort();
      while (used.has(port)) port = await freePort();
      used.add(port);
      return port;
    };
    for (let index = 0; index < size; index++) {
      const [grpc, http] = [await unusedPort(), await unusedPort()];
      addresses.push({ name: `member-${index}`, grpc: `127.0.0.1:${grpc}`, http: `127.0.0.1:${http}` });
    }
    const list = addresses.map(({ name, grpc, http }) => `${name}=${grpc}/${http.slice(http.indexOf(":") + 1)}`).join(",");
    const start = ({ name, grpc, http }: (typeof addresses)[number]): Promise<MemberProcess> => {
      const listeners = ["--listen", grpc, "--http-listen", http];
      const discovery = ["--discovery", "static", "--members", list, "--name", name];
      const cacheDirectory = `${directory.path}/${name}`;
      return MemberProcess.start({
        endpoint,
        cacheDirectory,
        flags: [...listeners, ...discovery, "--member-timeout", "1s", ...flags],
      });
    };
    return new Cluster(await Promise.all(addresses.map(start)), directory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map((member) => member[Symbol.asyncDispose]()));
    await this.#directory[Symbol.asyncDispose]();
  }
}
