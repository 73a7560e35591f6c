import { join } from "node:path";
import { claimPorts } from "../e2e/addresses.js";
import { MemberInProcess } from "../e2e/member-in-process.js";
import { temporaryDirectory } from "../e2e/member-process.js";
import { S3Emulator } from "../emulators/s3.js";

/** Loopback addresses of the two members, so that both can have the same ports. */
const HOSTS = ["127.0.0.2", "127.0.0.3"];

export interface MemberPairOptions {
  /** The S3 endpoint. */
  readonly endpoint: string;
  /** Where their caches are. */
  readonly directory: string;
  /** Returns further flags of a member. */
  readonly flagsOf: (index: number) => readonly string[];
}

/** Starts two members that list each other. */
export async function startMemberPair({ endpoint, directory, flagsOf }: MemberPairOptions): Promise<MemberInProcess[]> {
  const port = await claimPorts();
  const list = HOSTS.map((host, index) => `cache-${index}=${host}:${port}/${port + 1}`).join(",");
  return Promise.all(
    HOSTS.map((host, index) =>
      MemberInProcess.start({
        endpoint,
        cacheDirectory: join(directory, `cache-${index}`),
        flags: [
          ...["--discovery", "static", "--members", list, "--name", `cache-${index}`],
          ...["--listen", `${host}:${port}`, "--http-listen", `${host}:${port + 1}`],
          ...flagsOf(index),
        ],
      }),
    ),
  );
}

/** Two members that a test starts, their origin, and a directory for their files. */
export class PairUnderTest implements AsyncDisposable {
  readonly origin: S3Emulator;
  members: MemberInProcess[] = [];
  readonly #directory: Awaited<ReturnType<typeof temporaryDirectory>>;

  private constructor(origin: S3Emulator, directory: Awaited<ReturnType<typeof temporaryDirectory>>) {
    this.origin = origin;
    this.#directory = directory;
  }

  /** No member runs yet. */
  static async open(): Promise<PairUnderTest> {
    const directory = await temporaryDirectory();
    return new PairUnderTest(await S3Emulator.start(), directory);
  }

  async start(flagsOf: MemberPairOptions["flagsOf"]): Promise<void> {
    this.members = await startMemberPair({ endpoint: this.origin.endpoint, directory: this.#directory.path, flagsOf });
  }

  /** The path of a file in the directory. */
  path(name: string): string {
    return join(this.#directory.path, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop()));
    await this.origin.close();
    await this.#directory[Symbol.asyncDispose]();
  }
}
