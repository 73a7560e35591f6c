// Runs real clients against members: compares what they read with the origin, and what they write with what other members return. See
// README.md.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryDirectory } from "../e2e/member-process.js";
import { type Client, clients } from "./clients.js";
import { type Installed, install } from "./install.js";
import { startOrigin } from "./origin-store.js";
import { readingOf } from "./reading.js";
import { runProgram } from "./run-program.js";
import { startStage } from "./stage.js";
import { writeFiles, writingOf } from "./writing.js";

const CI_LIST = JSON.parse(readFileSync(join(import.meta.dirname, "ci.json"), "utf8")) as string[];

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
    for (const { client, environment } of ready) {
      const { http, s3 } = stage.members.at(-1)!;
      const endpoint = `http://${client.store === "gcs" ? http : s3}`;
      const reading = onlyWriting ? [] : readingOf(client, stage, origin);
      for (const { name, perform } of [...reading, ...writingOf(client, stage, folder)]) {
        const began = performance.now();
        const wrong = await perform((program) =>
          runProgram({ ...program, endpoint, environment: { ...environment, ...program.environment } }),
        );
        const seconds = ((performance.now() - began) / 1_000).toFixed(1);
        report(wrong === undefined ? "passed" : "failed", `${client.name}, ${stage.name}, ${name} (${seconds} s)`, wrong);
      }
    }
    for (const member of stage.members) await member.stop();
  }
  await origin[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  return counts.failed === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
