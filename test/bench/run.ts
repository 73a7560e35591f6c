// `npm run bench [-- name ...]`: runs the benchmarks (or the named ones) one after the other and prints their figures.

import { readdir } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { type Benchmark, line } from "./measure.js";

const questions = join(import.meta.dirname, "questions");
const wanted = process.argv.slice(2);
const names = (await readdir(questions))
  .map((file) => file.replace(/\.ts$/, ""))
  .filter((name) => wanted.length === 0 || wanted.includes(name));
if (names.length === 0) {
  console.error(`no benchmark is called ${wanted.join(" or ")}`);
  process.exit(2);
}
console.log(`${cpus().length} x ${cpus()[0]?.model ?? "unknown"}, Node ${process.version}, ${process.platform}\n`);
for (const name of names) {
  const { benchmark } = (await import(join(questions, `${name}.ts`))) as { benchmark: Benchmark };
  console.log(`${name}: ${benchmark.question}`);
  for (const figure of await benchmark.run()) console.log(line(figure));
  console.log();
}
