import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Answer, type Figure, holds, type Table } from "./answer.js";
import { drawChart } from "./chart.js";

function format(value: string | number | undefined): string {
  if (typeof value === "string") return value;
  if (value === undefined) return "";
  return Math.abs(value) >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3);
}

/** A table as lines of text, the first column to the left, the others to the right. */
function tableText({ columns, rows }: Table): string {
  const cells = [columns, ...rows].map((row) => row.map(format));
  const widths = columns.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const pad = (cell: string, column: number): string => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!));
  return cells.map((row) => `  ${row.map(pad).join("   ").trimEnd()}\n`).join("");
}

function askedOf({ atLeast, atMost }: Figure): string {
  if (atLeast !== undefined) return `at least ${format(atLeast)}`;
  return atMost === undefined ? "" : `at most ${format(atMost)}`;
}

function isAsked(figure: Figure): boolean {
  return askedOf(figure) !== "";
}

/** Figures as lines of text: name, asked, got, met. */
function figuresText(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.name,
    askedOf(figure),
    `${format(figure.value)} ${figure.unit}`.trimEnd(),
    isAsked(figure) ? (holds(figure) ? "met" : "MISSED") : "",
  ]);
  return figures.length === 0 ? "" : tableText({ columns: ["", "asked", "got", ""], rows });
}

/** All that one question came to, as text. */
export function answerText({ tables = [], figures }: Answer): string {
  return [...tables.map(tableText), figuresText(figures)].filter((text) => text !== "").join("\n");
}

/** What was asked of all the questions of a run, in one table. */
export function summaryText(answers: ReadonlyMap<string, Answer>): string {
  const all = [...answers].flatMap(([name, { figures }]) =>
    figures.filter(isAsked).map((figure) => ({ ...figure, name: `${name}: ${figure.name}` })),
  );
  return figuresText(all);
}

/** Keeps an answer as `<folder>/<name>.json` and its chart as `<folder>/<name>.svg`. */
export async function keep(
  folder: string,
  name: string,
  question: string,
  answer: Answer,
  machine: Readonly<Record<string, string | number>>,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const measuredAt = new Date().toISOString();
  await writeFile(
    join(folder, `${name}.json`),
    `${JSON.stringify({ name, question, measuredAt, machine, ...answer }, null, 2)}\n`,
  );
  await writeFile(join(folder, `${name}.svg`), drawChart(question, answer.chart));
}
