// `npm run bench [-- name ...]`: runs the questions (or the named ones) one after the other, prints their figures and keeps
// them with their charts in `bench-results/`, which git ignores; with `--keep`, in `results/` beside this file, for figures of
// a quiet machine. `table` stands for all that have to show something.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Answer, Benchmark } from "./answer.js";
import { describeMachine } from "./machine.js";
import { answerText, keep, summaryText } from "./report.js";

/** The questions whose answers are promised. */
const TABLE = ["hot-16mib", "hot-4kib", "hot-connections", "same-host", "stream-1gib", "cold-1gib"];

const questions = join(import.meta.dirname, "questions");

async function chosen(wanted: readonly string[]): Promise<string[]> {
  const all = (await readdir(questions)).map((file) => file.replace(/\.ts$/, ""));
  const names = wanted.length === 0 ? all : [...new Set(wanted.flatMap((name) => (name === "table" ? TABLE : [name])))];
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length === 0) return names;
  console.error(`no benchmark is called ${unknown.join(" or ")}; there are: table, ${all.join(", ")}`);
  return process.exit(2);
}

// The AWS SDK would like a newer Node than the oldest one that we run on.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
const args = process.argv.slice(2);
const names = await chosen(args.filter((arg) => arg !== "--keep"));
const folder = args.includes("--keep") ? join(import.meta.dirname, "results") : join(process.cwd(), "bench-results");
const machine = describeMachine();
for (const [name, value] of Object.entries(machine)) console.log(`${name.padEnd(20)} ${value}`);
console.log();
const answers = new Map<string, Answer>();
for (const name of names) {
  const { benchmark } = (await import(join(questions, `${name}.ts`))) as { benchmark: Benchmark };
  console.log(`${name}: ${benchmark.question}`);
  const begin = performance.now();
  const answer = await benchmark.run();
  answers.set(name, answer);
  console.log(answerText(answer));
  console.log(`  (${((performance.now() - begin) / 1e3).toFixed(0)} s)\n`);
  await keep(folder, name, benchmark.question, answer, machine);
}
if (names.length > 1) console.log(summaryText(answers));
