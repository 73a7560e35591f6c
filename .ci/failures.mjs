// A reporter of vitest: writes the errors of failed tests, then their names, to the file CI_FAILURES. `.ci/run` prints it last.
import { writeFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";

const linesOfError = 20;
const linesOfErrors = 120;
const linesOfNames = 30;

function bounded(lines, most) {
  return lines.length > most ? [...lines.slice(0, most), `  ... ${lines.length - most} more lines`] : lines;
}

function describe({ message, diff, stacks, stack }) {
  const frames = stacks?.length
    ? stacks.slice(0, 5).map(({ file, line, column }) => `  at ${file}:${line}:${column}`)
    : (stack ?? "").split("\n").slice(1, 6);
  const lines = `${message}${diff ? `\n${diff}` : ""}`.split("\n");
  return [...bounded(lines, linesOfError), ...frames].map((line) => `    ${line}`);
}

function failuresOf(module) {
  const { relativeModuleId: file, project, children } = module;
  const tests = [...children.allTests("failed")];
  const suites = [...children.allSuites()].filter((suite) => suite.errors().length > 0);
  return [
    { name: `${project.name} ${file}`, errors: module.errors() },
    ...suites.map((suite) => ({ name: `${project.name} ${file} > ${suite.fullName}`, errors: suite.errors() })),
    ...tests.map((test) => ({ name: `${project.name} ${file} > ${test.fullName}`, errors: test.result().errors ?? [] })),
  ].filter(({ errors }) => errors.length > 0);
}

export default class FailuresReporter {
  onTestRunEnd(modules, unhandledErrors, reason) {
    const failures = [
      ...modules.flatMap(failuresOf),
      ...(unhandledErrors.length > 0 ? [{ name: "outside of a test", errors: unhandledErrors }] : []),
    ];
    if (failures.length === 0 && reason === "passed") return;
    const errors = failures.flatMap(({ name, errors }) => [`  ${name}`, ...errors.flatMap(describe)]);
    const report = [
      ...bounded(errors, linesOfErrors),
      `  ${failures.length} failures, run ${reason}:`,
      ...bounded(
        failures.map(({ name }) => `  ${name}`),
        linesOfNames,
      ),
    ].join("\n");
    writeFileSync(process.env.CI_FAILURES, `${stripVTControlCharacters(report)}\n`);
  }
}
