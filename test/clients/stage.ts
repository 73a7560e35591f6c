import { join } from "node:path";
import { claimPorts, hostOf } from "../e2e/addresses.js";
import { MemberProcess } from "../e2e/member-process.js";
import { run } from "../ended-program.js";
import { BUCKET } from "./objects.js";
import { CREDENTIALS, type OriginStores } from "./origin-store.js";

/** Attempts of an eviction. */
const MAX_ATTEMPTS = 30;

/** Members with one origin: clients speak to the last one, which owns only some of the blocks. */
export interface Stage {
  readonly name: string;
  readonly members: readonly MemberProcess[];
}

/** Starts members. `directory`: for their caches. */
export async function startStage(origin: OriginStores, directory: string, count: number): Promise<Stage> {
  const port = await claimPorts();
  const names = Array.from({ length: count }, (_, at) => `m${count}-${at}`);
  const list = names.map((name, at) => `${name}=${hostOf(at)}:${port}/${port + 1}`).join(",");
  const cluster = count === 1 ? [] : ["--discovery", "static", "--members", list];
  const members = await Promise.all(
    names.map((name, at) =>
      MemberProcess.start({
        endpoint: origin.endpoint,
        cacheDirectory: join(directory, `${name}:2GiB`),
        flags: [
          ...cluster,
          ...["--name", name, "--leave-after", "0s", "--writes", "anonymous"],
          ...["--listen", `${hostOf(at)}:${port}`, "--http-listen", `${hostOf(at)}:${port + 1}`],
        ],
        env: {
          AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
          AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
          STORAGE_EMULATOR_HOST: origin.gcs.endpoint,
        },
      }),
    ),
  );
  return { name: count === 1 ? "one member" : `${count} members`, members };
}

/** Evicts all objects of the bucket from all members. */
export async function evict({ members }: Stage): Promise<void> {
  const program = join(import.meta.dirname, "..", "..", "server", "bin", "frontcache.js");
  for (const scheme of ["s3", "gs"]) {
    const args = [program, "evict", "--prefix", `${scheme}://${BUCKET}/`, "--endpoint", members[0]!.grpc];
    // The command waits a second for a connection, which may be too short on a starved machine.
    for (let attempt = 1; ; attempt++) {
      const { code, output } = await run(process.execPath, args);
      if (code === 0) break;
      if (attempt === MAX_ATTEMPTS) throw new Error(`evict ended with ${code}: ${output}`);
    }
  }
}
