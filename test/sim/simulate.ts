import { fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { breakableRules, breakableVersionRules } from "./broken-rules.js";
import { type RunReport, runCluster } from "./cluster-run.js";
import { describeStep, type Step } from "./cluster-steps.js";
import { MAX_SHRINK_RUNS, shrink } from "./shrink.js";
import { makeSteps, subjects } from "./step-makers.js";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    steps: { type: "string", default: "5000" },
    first: { type: "string", default: "1" },
    workers: { type: "string", default: String(availableParallelism()) },
    subject: { type: "string" },
    break: { type: "string" },
    "no-shrink": { type: "boolean", default: false },
  },
});
const [seeds, steps, first, workers] = [values.seeds, values.steps, values.first, values.workers].map(Number) as [
  number,
  number,
  number,
  number,
];
/** Rules about versions are found by runs about versions. */
const subject =
  subjects.find((name) => name === values.subject) ?? (breakableVersionRules[values.break ?? ""] ? "versions" : "all");
const rules = values.break === undefined ? {} : (breakableRules[values.break] ?? breakableVersionRules[values.break]);
const run = (seed: number, some: readonly Step[]): Promise<RunReport> => runCluster(seed, some, { rules: rules ?? {}, subject });
const print = (line: string): void => void process.stdout.write(`${line}\n`);

if (rules === undefined) {
  print(`--break ${values.break} is no rule: use ${Object.keys({ ...breakableRules, ...breakableVersionRules }).join(", ")}`);
  process.exitCode = 2;
} else if (process.send !== undefined) {
  // What breaks is run again with stacks; errors that are part of the game need none, and cost a tenth of the time.
  Error.stackTraceLimit = 0;
  process.on("message", (seed: number) => {
    void run(seed, makeSteps(seed, steps, subject)).then((report) => process.send!(report));
  });
} else await main();

/** Runs all seeds on all cores, tells how it goes, and shrinks the first one that failed. */
async function main(): Promise<void> {
  const began = performance.now();
  const reports = await runAll();
  const failed = reports.filter(({ broken }) => broken.length > 0);
  const sum = (of: (report: RunReport) => number): number => reports.reduce((total, report) => total + of(report), 0);
  const seconds = (performance.now() - began) / 1000;
  print(
    `${sum((report) => report.steps)} steps over ${reports.length} seeds in ${seconds.toFixed(0)} s: ` +
      `${sum(({ served }) => served)} reads answered, ${sum(({ refused }) => refused)} refused as the rules allow; ` +
      (failed.length === 0 ? "no promise broken" : `broken by seeds ${failed.map(({ seed }) => seed).join(", ")}`),
  );
  const shortest = failed.toSorted((a, b) => a.steps - b.steps)[0];
  if (shortest !== undefined && !values["no-shrink"]) await printShrunk(shortest);
  const expected = values.break === undefined ? failed.length === 0 : failed.some(({ seed }) => seed < first + 50);
  process.exitCode = expected ? 0 : 1;
}

async function runAll(): Promise<RunReport[]> {
  const reports: RunReport[] = [];
  let next = first;
  const runOne = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = fork(process.argv[1]!, process.argv.slice(2));
      const go = (): void => {
        if (next < first + seeds) worker.send(next++);
        else worker.disconnect();
      };
      worker.on("message", (report: RunReport) => {
        reports.push(report);
        tell(report, reports.length);
        go();
      });
      worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))));
      go();
    });
  await Promise.all(Array.from({ length: Math.min(workers, seeds) }, runOne));
  return reports.sort((a, b) => a.seed - b.seed);
}

function tell({ seed, steps: taken, broken, served, refused }: RunReport, done: number): void {
  if (broken.length > 0) print(`seed ${seed} broke after ${taken} steps: ${broken[0]!.split("\n")[0]}`);
  else if (done % 10 === 0 || seeds < 10)
    print(`${done} of ${seeds} seeds; seed ${seed}: ${served} answered, ${refused} refused`);
}

/** What broke, without what differs from one such break to the next. */
function kindOf({ broken }: RunReport): string | undefined {
  return broken[0]
    ?.split("\n", 1)
    .join()
    .replaceAll(/[-\d]+|Infinity|current|s3:\/\/\S+/g, "");
}

async function printShrunk(report: RunReport): Promise<void> {
  const { seed, steps: taken } = report;
  print(`shrinking seed ${seed} ...`);
  const all = makeSteps(seed, steps, subject).slice(0, taken);
  const fails = async (some: readonly Step[]): Promise<boolean> => kindOf(await run(seed, some)) === kindOf(report);
  const short = await shrink(all, fails, MAX_SHRINK_RUNS);
  const { broken } = await run(seed, short);
  print([`seed ${seed} in ${short.length} steps:`, ...short.map((step, at) => `${at + 1}. ${describeStep(step)}`)].join("\n"));
  print(broken.join("\n"));
}
