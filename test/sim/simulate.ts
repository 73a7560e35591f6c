import { fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { breakableRules, breakableVersionRules, subjectsOfRules } from "./broken-rules.js";
import { type RunReport, runCluster } from "./cluster-run.js";
import { describeStep, type Step } from "./cluster-steps.js";
import { MAX_SHRINK_RUNS, shrink } from "./shrink.js";
import { makeSteps, type Subject, subjects } from "./step-makers.js";

/** A rule that is broken on purpose must be found within this many seeds. */
const FOUND_WITHIN = 50;
/** Steps of a run about broken rules, unless others are named. */
const STEPS_PER_RULE = 200;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    steps: { type: "string" },
    first: { type: "string", default: "1" },
    workers: { type: "string", default: String(availableParallelism()) },
    subject: { type: "string" },
    break: { type: "string" },
    "no-shrink": { type: "boolean", default: false },
  },
});
const [seeds, first, workers] = [values.seeds, values.first, values.workers].map(Number) as [number, number, number];
const allRules = { ...breakableRules, ...breakableVersionRules };
const steps = Number(values.steps ?? (values.break === "all" ? STEPS_PER_RULE : 5_000));
const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** A run in a worker. */
interface Job {
  readonly seed: number;
  /** Name of the rule that is broken. Absent: none. */
  readonly rule?: string | undefined;
}

/** What a run is about: what was asked for, or what finds the broken rule. */
function subjectOf({ rule }: Pick<Job, "rule">): Subject {
  return subjects.find((name) => name === values.subject) ?? (rule === undefined ? "all" : (subjectsOfRules[rule] ?? "all"));
}

function run(job: Job, some?: readonly Step[]): Promise<RunReport> {
  const subject = subjectOf(job);
  const rules = job.rule === undefined ? {} : allRules[job.rule]!;
  return runCluster(job.seed, some ?? makeSteps(job.seed, steps, subject), { rules, subject });
}

if (values.break !== undefined && values.break !== "all" && allRules[values.break] === undefined) {
  print(`--break ${values.break} is no rule: use all, ${Object.keys(allRules).join(", ")}`);
  process.exitCode = 2;
} else if (process.send !== undefined) {
  // Broken runs are repeated with stacks. Errors that the rules allow need none, and cost a tenth of the time.
  Error.stackTraceLimit = 0;
  process.on("message", (job: Job) => {
    void run(job).then((report) => process.send!(report));
  });
} else if (values.break === "all") await breakAll();
else await main();

/** Runs all seeds on all cores, reports the progress, and shrinks the first one that failed. */
async function main(): Promise<void> {
  const began = performance.now();
  const rule = values.break;
  const reports = await runAll(
    Array.from({ length: seeds }, (_, at) => ({ seed: first + at, rule })),
    printProgress,
  );
  const failed = reports.filter(({ broken }) => broken.length > 0);
  const sum = (of: (report: RunReport) => number): number => reports.reduce((total, report) => total + of(report), 0);
  const seconds = (performance.now() - began) / 1000;
  print(
    `${sum((report) => report.steps)} steps over ${reports.length} seeds in ${seconds.toFixed(0)} s: ` +
      `${sum(({ served }) => served)} reads answered, ${sum(({ refused }) => refused)} refused as the rules allow; ` +
      (failed.length === 0 ? "no promise broken" : `broken by seeds ${failed.map(({ seed }) => seed).join(", ")}`),
  );
  const shortest = failed.toSorted((a, b) => a.steps - b.steps)[0];
  if (shortest !== undefined && !values["no-shrink"]) await printShrunk(shortest, { seed: shortest.seed, rule });
  const expected = rule === undefined ? failed.length === 0 : failed.some(({ seed }) => seed < first + FOUND_WITHIN);
  process.exitCode = expected ? 0 : 1;
}

/** Breaks each rule, and prints the first seed that finds it. Fails if one is not found within FOUND_WITHIN seeds. */
async function breakAll(): Promise<void> {
  for (const rule of Object.keys(allRules)) {
    const jobs = Array.from({ length: FOUND_WITHIN }, (_, at) => ({ seed: first + at, rule }));
    const reports = await runAll(jobs, ({ broken }) => broken.length > 0);
    const found = reports.find(({ broken }) => broken.length > 0);
    const of = `${rule} (--subject ${subjectOf({ rule })})`;
    if (found === undefined) {
      print(`${of}: not found within ${FOUND_WITHIN} seeds`);
      process.exitCode = 1;
    } else print(`${of}: found by seed ${found.seed} after ${found.steps} steps: ${found.broken[0]!.split("\n")[0]}`);
  }
}

/** Runs jobs on all cores until there are no more, or `isEnough` says so. Resolves to the reports in the order of their seeds. */
async function runAll(jobs: readonly Job[], isEnough: (report: RunReport, done: number) => boolean): Promise<RunReport[]> {
  const reports: RunReport[] = [];
  let next = 0;
  const runOne = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = fork(process.argv[1]!, process.argv.slice(2));
      const go = (): void => {
        if (next < jobs.length) worker.send(jobs[next++]!);
        else worker.disconnect();
      };
      worker.on("message", (report: RunReport) => {
        reports.push(report);
        if (isEnough(report, reports.length)) next = jobs.length;
        go();
      });
      worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))));
      go();
    });
  await Promise.all(Array.from({ length: Math.min(workers, jobs.length) }, runOne));
  return reports.sort((a, b) => a.seed - b.seed);
}

function printProgress({ seed, steps: taken, broken, served, refused }: RunReport, done: number): boolean {
  if (broken.length > 0) print(`seed ${seed} broke after ${taken} steps: ${broken[0]!.split("\n")[0]}`);
  else if (done % 10 === 0 || seeds < 10)
    print(`${done} of ${seeds} seeds; seed ${seed}: ${served} answered, ${refused} refused`);
  return false;
}

/** What broke, without what differs from one such break to the next. */
function kindOf({ broken }: RunReport): string | undefined {
  return broken[0]
    ?.split("\n", 1)
    .join()
    .replaceAll(/[-\d]+|Infinity|current|s3:\/\/\S+/g, "");
}

async function printShrunk(report: RunReport, job: Job): Promise<void> {
  const { seed, steps: taken } = report;
  print(`shrinking seed ${seed} ...`);
  const all = makeSteps(seed, steps, subjectOf(job)).slice(0, taken);
  const fails = async (some: readonly Step[]): Promise<boolean> => kindOf(await run(job, some)) === kindOf(report);
  const short = await shrink(all, fails, MAX_SHRINK_RUNS);
  const { broken } = await run(job, short);
  print([`seed ${seed} in ${short.length} steps:`, ...short.map((step, at) => `${at + 1}. ${describeStep(step)}`)].join("\n"));
  print(broken.join("\n"));
}
