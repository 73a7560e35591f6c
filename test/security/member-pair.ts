import { join } from "node:path";
import { claimPorts } from "../e2e/addresses.js";
import { MemberProcess } from "../e2e/member-process.js";

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
export async function startMemberPair({ endpoint, directory, flagsOf }: MemberPairOptions): Promise<MemberProcess[]> {
  const port = await claimPorts();
  const list = HOSTS.map((host, index) => `cache-${index}=${host}:${port}/${port + 1}`).join(",");
  return Promise.all(
    HOSTS.map((host, index) =>
      MemberProcess.start({
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
