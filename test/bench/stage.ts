import { CacheClient } from "@frontcache/client";
import { MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
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

/** One member before an origin, and a client of it, each a process of its own. */
export interface Stage {
  readonly origin: OriginProcess;
  readonly member: MemberProcess;
  readonly client: CacheClient;
  /** The member's one volume. */
  readonly cacheDirectory: string;
  /** An object that the member holds to its last byte, read twice. */
  hot(size: number): Promise<StageObject>;
}

/** How the member is started. */
export interface StageOptions {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Sets the stage, has `play` measure on it, and clears it away. */
export async function onStage<Result>(play: (stage: Stage) => Promise<Result>, options: StageOptions = {}): Promise<Result> {
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
  return await play({ origin, member, client, cacheDirectory: directory.path, hot });
}
