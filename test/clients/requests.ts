// Counts the origin requests that opening files costs: directly, through a member cold, and through it cached. See README.md.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { S3Emulator } from "../emulators/s3.js";
import { install } from "./install.js";
import { BUCKET, objects } from "./objects.js";

/** Timeout of one program. */
const RUN_TIMEOUT_MS = 300_000;

const run = promisify(execFile);
const directory = await temporaryDirectory();
const data = install("data");
if ("problem" in data) throw new Error(data.problem);
const gdal = install("gdal");
if ("problem" in gdal) throw new Error(gdal.problem);
const python = join(data.environment.CLIENT_FOLDER!, "bin", "python3");
const script = join(import.meta.dirname, "scripts", "parquet_requests.py");

function environmentOf(endpoint: string): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    HOME: directory.path,
    ENDPOINT: endpoint,
    BUCKET,
    KEYS: "[]",
    WORK: directory.path,
    AWS_ACCESS_KEY_ID: "any",
    AWS_SECRET_ACCESS_KEY: "any-secret",
    AWS_REGION: "us-east-1",
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_CONFIG_FILE: "/dev/null",
    AWS_S3_ENDPOINT: endpoint.replace("http://", ""),
    AWS_HTTPS: "NO",
    AWS_VIRTUAL_HOSTING: "FALSE",
  };
}

const programs: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ["gdalinfo", "gdalinfo", `/vsis3/${BUCKET}/data/image.tif`],
  ...["pyarrow", "polars", "duckdb"].map((reader) => [`Parquet by ${reader}`, python, script, reader] as const),
];

const origin = await S3Emulator.start();
for (const [key, bytes] of objects) origin.put(BUCKET, key, bytes);
const file = join(directory.path, "table.parquet");
await run(python, [script, "write", file], { env: environmentOf(origin.endpoint), timeout: RUN_TIMEOUT_MS });
origin.put(BUCKET, "table.parquet", readFileSync(file));
for (const [name, command, ...args] of programs) {
  // A member of its own, so that nothing is cached before.
  const member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: join(directory.path, `${name}:1GiB`) });
  const counts: string[] = [];
  for (const [way, endpoint] of [
    ["direct", origin.endpoint],
    ["cold", `http://${member.s3}`],
    ["cached", `http://${member.s3}`],
  ] as const) {
    origin.traffic.reset();
    await run(command, args, { env: environmentOf(endpoint), timeout: RUN_TIMEOUT_MS });
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
