// Runs real clients against members: compares what they read with the origin, and what they write with what other members return. See
// README.md.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { claimPorts, hostOf } from "../e2e/addresses.js";
import { MemberProcess, temporaryDirectory } from "../e2e/member-process.js";
import { run } from "../ended-program.js";
import { type Client, clients } from "./clients.js";
import { type Installed, install } from "./install.js";
import { BUCKET, expected, type ReadObject, WRITABLE_BUCKET } from "./objects.js";
import { CREDENTIALS, type OriginStores, startOrigin } from "./origin-store.js";
import { type Writer, WrittenBucket, writeFiles, writers } from "./writing.js";

/** Attempts of an eviction. */
const MAX_ATTEMPTS = 30;

const CI_LIST = JSON.parse(readFileSync(join(import.meta.dirname, "ci.json"), "utf8")) as string[];

/** Members with one origin: clients speak to the last one, which owns only some of the blocks. */
interface Stage {
  readonly name: string;
  readonly members: readonly MemberProcess[];
}

async function startStage(origin: OriginStores, directory: string, count: number): Promise<Stage> {
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
async function evict({ members }: Stage): Promise<void> {
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

/** How a program in `scripts/` is started, by the ending of its name. */
const STARTS: Readonly<Record<string, (script: string, folder: string) => readonly [command: string, ...args: string[]]>> = {
  py: (script, folder) => [join(folder, "bin", "python3"), script],
  mjs: (script) => [process.execPath, script],
  sh: (script) => ["bash", script],
  java: (script, folder) => ["java", "-cp", join(folder, "lib", "*"), script],
  go: (_, folder) => [join(folder, "bin", "client")],
};

/** Runs a client once. Returns what it reported otherwise than expected. */
async function runClient(
  client: Client,
  environment: Readonly<Record<string, string>>,
  member: MemberProcess,
  origin: OriginStores,
): Promise<string | undefined> {
  const of = {
    COUNT: String(expected.size),
    KEYS: JSON.stringify([...expected.keys()]),
    ORIGIN: origin.endpoint,
    ORIGIN_BUCKET: WRITABLE_BUCKET,
    ORIGIN_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
    ORIGIN_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
  };
  const ended = await runScript(client, member, { ...environment, ...of });
  if (ended.problem !== undefined) return ended.problem;
  return client.checksItself === true ? undefined : difference(ended.stdout);
}

/** Has a client write through one member. Returns what the members return otherwise at once. */
async function runWriter(
  writer: Writer,
  environment: Readonly<Record<string, string>>,
  { members }: Stage,
  folder: string,
): Promise<string | undefined> {
  using bucket = new WrittenBucket(members, writer, writer.script.split(".")[0]!);
  await bucket.prepare();
  const { problem } = await runScript(writer, members.at(-1)!, { ...environment, ...bucket.environmentOf(folder) });
  return problem ?? bucket.difference();
}

/** Runs the program of a client in a folder of its own. */
async function runScript(
  { script, args = [], store }: Pick<Client, "script" | "args" | "store">,
  member: MemberProcess,
  environment: Readonly<Record<string, string>>,
): Promise<{ readonly stdout: string; readonly problem: string | undefined }> {
  const start = STARTS[script.split(".").at(-1)!]!;
  const [command, ...before] = start(join(import.meta.dirname, "scripts", script), environment.CLIENT_FOLDER ?? "");
  const directory = await temporaryDirectory();
  try {
    const env = {
      PATH: process.env.PATH,
      HOME: directory.path,
      TMPDIR: directory.path,
      LC_ALL: "C.UTF-8",
      ENDPOINT: `http://${store === "gcs" ? member.http : member.s3}`,
      BUCKET,
      WORK: directory.path,
      AWS_ACCESS_KEY_ID: "any",
      AWS_SECRET_ACCESS_KEY: "any-secret",
      AWS_REGION: "us-east-1",
      AWS_DEFAULT_REGION: "us-east-1",
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_CONFIG_FILE: "/dev/null",
      NO_GCE_CHECK: "true",
      ...environment,
    };
    const { code, stdout, output } = await run(command, [...before, ...args], { env });
    const problem = code === 0 ? undefined : `it ended with ${code ?? "a signal"}: ${output.trim().slice(-600)}`;
    return { stdout, problem };
  } finally {
    await directory[Symbol.asyncDispose]();
  }
}

/** Lines of JSON: `{"key", "size", "md5"}` for each object, `{"listed": [...]}` for a listing of the bucket. */
function difference(stdout: string): string | undefined {
  const read = new Map<string, ReadObject>();
  let listed: string[] | undefined;
  for (const line of stdout.split("\n")) {
    if (!line.startsWith("{")) continue;
    const entry = JSON.parse(line) as { key?: string; listed?: string[] } & ReadObject;
    if (entry.listed !== undefined) listed = entry.listed;
    else if (entry.key !== undefined) read.set(entry.key, { size: entry.size, md5: entry.md5 });
  }
  const keys = [...expected.keys()].sort();
  if (listed !== undefined && JSON.stringify([...listed].sort()) !== JSON.stringify(keys))
    return `it lists ${JSON.stringify(listed)}`;
  const wrong = keys.filter((key) => JSON.stringify(read.get(key)) !== JSON.stringify(expected.get(key)));
  return wrong.length === 0 ? undefined : `it reads otherwise: ${wrong.map((key) => JSON.stringify(key)).join(", ")}`;
}

async function main(args: readonly string[]): Promise<number> {
  const isCi = args.includes("--ci");
  const onEmulator = args.includes("--emulator");
  const onlyWriting = args.includes("--writing");
  const names = isCi ? CI_LIST : args.filter((arg) => arg !== "--emulator" && arg !== "--writing");
  const unknown = names.filter((name) => !clients.some((client) => client.name === name));
  if (unknown.length > 0) throw new Error(`no such client: ${unknown.join(", ")}`);
  const chosen = clients.filter(({ name }) => names.length === 0 || names.includes(name));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const report = (outcome: keyof typeof counts, name: string, why = ""): void => {
    counts[outcome]++;
    console.log(`${outcome.padEnd(8)}${name}${why === "" ? "" : `: ${why}`}`);
  };
  const directory = await temporaryDirectory();
  const ready: { client: Client; environment: Readonly<Record<string, string>> }[] = [];
  for (const client of chosen) {
    const installed: Installed = install(client.installation);
    if ("environment" in installed) ready.push({ client, environment: installed.environment });
    else report(isCi && !installed.isSlow ? "failed" : "skipped", client.name, `it cannot be installed (${installed.problem})`);
  }
  const origin = await startOrigin(directory.path, onEmulator);
  console.log(`Origin: ${origin.name}`);
  const folder = join(directory.path, "written");
  writeFiles(folder);
  for (const count of onlyWriting ? [3] : [1, 3]) {
    const stage = await startStage(origin, directory.path, count);
    for (const { client, environment } of onlyWriting ? [] : ready) {
      const member = stage.members.at(-1)!;
      await evict(stage);
      for (const temperature of ["cold", "cached"]) {
        const began = performance.now();
        const wrong = await runClient(client, environment, member, origin);
        const seconds = ((performance.now() - began) / 1_000).toFixed(1);
        report(wrong === undefined ? "passed" : "failed", `${client.name}, ${stage.name}, ${temperature} (${seconds} s)`, wrong);
      }
    }
    const writing = count === 1 ? [] : writers.filter(({ name }) => ready.some(({ client }) => client.name === name));
    for (const writer of writing) {
      const { environment } = ready.find(({ client }) => client.name === writer.name)!;
      const began = performance.now();
      const wrong = await runWriter(writer, environment, stage, folder);
      const seconds = ((performance.now() - began) / 1_000).toFixed(1);
      report(wrong === undefined ? "passed" : "failed", `${writer.name} writes, ${stage.name} (${seconds} s)`, wrong);
    }
    for (const member of stage.members) await member.stop();
  }
  await origin[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  return counts.failed === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
