// Counts the origin requests that opening files costs: directly, through a member cold, and through it cached. See README.md.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { S3Emulator } from "../emulators/s3.js";
import type { installations } from "./clients.js";
import { install } from "./install.js";
import { BUCKET, objects } from "./objects.js";
import { runProgram } from "./run-program.js";

/** How a file is opened. */
interface Opening {
  readonly name: string;
  readonly installation: keyof typeof installations;
  readonly script: string;
  readonly args: readonly string[];
}

const openings: readonly Opening[] = [
  { name: "gdalinfo", installation: "gdal", script: "gdal_info.sh", args: [] },
  ...["pyarrow", "polars", "duckdb"].map(
    (reader): Opening => ({
      name: `Parquet by ${reader}`,
      installation: "data",
      script: "parquet_requests.py",
      args: [reader],
    }),
  ),
];

/** Opens a file at an endpoint. */
async function open({ installation, script, args }: Omit<Opening, "name">, endpoint: string): Promise<void> {
  const installed = install(installation);
  if ("problem" in installed) throw new Error(installed.problem);
  const environment = { ...installed.environment, KEYS: "[]" };
  const { problem } = await runProgram({ script, args, endpoint, environment });
  if (problem !== undefined) throw new Error(`${script} ${args.join(" ")}: ${problem}`);
}

const directory = await temporaryDirectory();
const origin = await S3Emulator.start();
for (const [key, bytes] of objects) origin.put(BUCKET, key, bytes);
const file = join(directory.path, "table.parquet");
await open({ installation: "data", script: "parquet_requests.py", args: ["write", file] }, origin.endpoint);
origin.put(BUCKET, "table.parquet", readFileSync(file));
for (const opening of openings) {
  const { name } = opening;
  // A member of its own, so that nothing is cached before.
  const member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: join(directory.path, `${name}:1GiB`) });
  const counts: string[] = [];
  for (const [way, endpoint] of [
    ["direct", origin.endpoint],
    ["cold", `http://${member.s3}`],
    ["cached", `http://${member.s3}`],
  ] as const) {
    origin.traffic.reset();
    await open(opening, endpoint);
    const { requests } = origin.traffic;
    const total = Object.values(requests).reduce((sum, count) => sum + count, 0);
    counts.push(
      `${way} ${total} (${Object.entries(requests)
        .map(([method, count]) => `${count} ${method}`)
        .join(", ")})`,
    );
  }
  console.log(`${name}: ${counts.join("; ")}`);
  await member.stop();
}
await origin.close();
await directory[Symbol.asyncDispose]();
