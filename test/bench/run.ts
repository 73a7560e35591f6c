// npm run bench [-- question ...]                runs all questions or the named ones, in turn, and prints their figures
// npm run bench -- table                         runs those whose answers are promised
// npm run bench -- compare --against <checkout> [workload ...] [--rounds 30]
//                                                compares this build with another one
// Results and charts go to `bench-results/`, which git ignores; with `--keep`, to `test/bench/results/`, for figures of a
// quiet machine. With `--quick` each question runs for a tenth of its time, which is too short for figures.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Answer, Benchmark } from "./answer.js";
import { describeMachine } from "./machine.js";
import { answerText, keep, summaryText } from "./report.js";

/** The questions whose answers are promised. */
const TABLE = ["hot-16mib", "hot-4kib", "hot-connections", "forwarded", "same-host", "stream-1gib", "cold-1gib", "cold-tiny"];

const questions = join(import.meta.dirname, "questions");

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    keep: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    against: { type: "string" },
    rounds: { type: "string", default: "30" },
  },
});

async function questionsOf(requested: readonly string[]): Promise<string[]> {
  const all = (await readdir(questions)).map((file) => file.replace(/\.ts$/, ""));
  const names = requested.length === 0 ? all : [...new Set(requested.flatMap((name) => (name === "table" ? TABLE : [name])))];
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length === 0) return names;
  console.error(`unknown question: ${unknown.join(", ")}; available: table, compare, ${all.join(", ")}`);
  return process.exit(2);
}

/** The comparison as a question, or the questions that the command line names. */
async function* benchmarks(): AsyncGenerator<[name: string, benchmark: Benchmark]> {
  const [first, ...others] = positionals;
  if (first === "compare") {
    if (values.against === undefined) {
      console.error("compare needs --against <built checkout>");
      return process.exit(2);
    }
    const options = { against: values.against, rounds: Number(values.rounds), names: others };
    const { compare } = await import("./compare/compare.js");
    yield ["compare", { question: "Is this build as fast as the other one?", run: () => compare(options) }];
    return;
  }
  for (const name of await questionsOf(positionals)) {
    yield [name, ((await import(join(questions, `${name}.ts`))) as { benchmark: Benchmark }).benchmark];
  }
}

// The AWS SDK warns about the oldest Node that we support.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
if (values.quick) process.env.FRONTCACHE_BENCH_QUICK = "true";
const folder = values.keep ? join(import.meta.dirname, "results") : join(process.cwd(), "bench-results");
const machine = describeMachine();
for (const [name, value] of Object.entries(machine)) console.log(`${name.padEnd(20)} ${value}`);
console.log();
const answers = new Map<string, Answer>();
for await (const [name, benchmark] of benchmarks()) {
  console.log(`${name}: ${benchmark.question}`);
  const begin = performance.now();
  const answer = await benchmark.run();
  answers.set(name, answer);
  console.log(answerText(answer));
  console.log(`  (${((performance.now() - begin) / 1e3).toFixed(0)} s)\n`);
  await keep(folder, name, benchmark.question, answer, machine);
}
if (answers.size > 1) console.log(summaryText(answers));
