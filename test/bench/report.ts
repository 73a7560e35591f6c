import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as echarts from "echarts";
import { type Answer, type Chart, type Figure, isMet, type Table } from "./answer.js";

function format(value: string | number | undefined): string {
  if (typeof value === "string") return value;
  if (value === undefined) return "";
  return Math.abs(value) >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3);
}

/** A table as lines of text. The first column is aligned to the left, the others to the right. */
function tableText({ columns, rows }: Table): string {
  const cells = [columns, ...rows].map((row) => row.map(format));
  const widths = columns.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const pad = (cell: string, column: number): string => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!));
  return cells.map((row) => `  ${row.map(pad).join("   ").trimEnd()}\n`).join("");
}

function targetOf({ atLeast, atMost }: Figure): string {
  if (atLeast !== undefined) return `at least ${format(atLeast)}`;
  return atMost === undefined ? "" : `at most ${format(atMost)}`;
}

function hasTarget(figure: Figure): boolean {
  return targetOf(figure) !== "";
}

/** Figures as lines of text: name, target, result, whether the target is met. */
function figuresText(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.name,
    targetOf(figure),
    `${format(figure.value)} ${figure.unit}`.trimEnd(),
    hasTarget(figure) ? (isMet(figure) ? "met" : "MISSED") : "",
  ]);
  return figures.length === 0 ? "" : tableText({ columns: ["", "target", "result", ""], rows });
}

/** The answer of one question as text. */
export function answerText({ tables = [], figures }: Answer): string {
  return [...tables.map(tableText), figuresText(figures)].filter((text) => text !== "").join("\n");
}

/** The figures with a target of all questions of a run, in one table. */
export function summaryText(answers: ReadonlyMap<string, Answer>): string {
  const all = [...answers].flatMap(([name, { figures }]) =>
    figures.filter(hasTarget).map((figure) => ({ ...figure, name: `${name}: ${figure.name}` })),
  );
  return figuresText(all);
}

const WIDTH = 860;
/** Height of the axis, its labels and its name. */
const BOTTOM_HEIGHT = 54;
const TITLE_HEIGHT = 22;
const LEGEND_HEIGHT = 24;
const BAR_HEIGHT = 22;
const BAR_GAP = 14;
const LETTER_WIDTH = 6.8;
const TITLE_LETTER_WIDTH = 9.9;

/** Legible on a white and on a dark background: the chart has none. */
const TEXT_COLOR = "#768390";
const LINE_COLOR = "#76839055";
const OUR_COLORS = ["#2f81f7", "#8957e5", "#1b9aaa"];
const OTHER_COLORS = ["#8d96a0", "#a99d90", "#9fa58f"];

function widestOf(texts: readonly string[]): number {
  return Math.max(...texts.map(({ length }) => length)) * LETTER_WIDTH;
}

function label(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}

/** Breaks a text into lines of at most this many characters, between words. */
function inLines(text: string, most: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1)!;
    if (last.length + word.length < most) lines[lines.length - 1] = `${last} ${word}`.trim();
    else lines.push(word);
  }
  return lines;
}

/** The chart as the text of an SVG file. */
function drawChart(title: string, { unit, groups = [""], bars }: Chart): string {
  // Text cannot be measured without a browser, and fonts differ: leave room for wide letters.
  const left = widestOf(bars.map(({ name }) => name)) + 20;
  const titleLines = inLines(title, WIDTH / TITLE_LETTER_WIDTH);
  const legendTop = 12 + titleLines.length * TITLE_HEIGHT;
  const top = legendTop + (groups.length > 1 ? LEGEND_HEIGHT : 0) + 8;
  const height = top + BOTTOM_HEIGHT + bars.length * (groups.length * BAR_HEIGHT + BAR_GAP);
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  chart.setOption({
    animation: false,
    textStyle: { color: TEXT_COLOR, fontFamily: "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" },
    title: {
      text: titleLines.join("\n"),
      left: 8,
      top: 8,
      textStyle: { color: TEXT_COLOR, fontSize: 15, lineHeight: TITLE_HEIGHT, fontWeight: 600 },
    },
    ...(groups.length > 1 ? { legend: { top: legendTop, left: 8, itemGap: 28, textStyle: { color: TEXT_COLOR } } } : {}),
    grid: { left, right: 72, top, bottom: 44, outerBoundsMode: "none" },
    xAxis: {
      type: "value",
      name: bars.every(({ ours }) => ours) ? unit : `${unit}; other systems are gray`,
      nameLocation: "middle",
      nameGap: 26,
      nameTextStyle: { color: TEXT_COLOR },
      axisLabel: { color: TEXT_COLOR },
      splitLine: { lineStyle: { color: LINE_COLOR } },
    },
    yAxis: {
      type: "category",
      inverse: true,
      data: bars.map(({ name }) => name),
      axisLabel: { color: TEXT_COLOR, fontSize: 12 },
      axisLine: { lineStyle: { color: LINE_COLOR } },
      axisTick: { show: false },
    },
    series: groups.map((name, group) => ({
      name,
      type: "bar",
      barWidth: BAR_HEIGHT - 6,
      itemStyle: { color: OUR_COLORS[group] },
      data: bars.map(({ values, ours }) => ({
        value: values[group],
        itemStyle: { color: (ours ? OUR_COLORS : OTHER_COLORS)[group] },
      })),
      label: { show: true, position: "right", color: TEXT_COLOR, formatter: ({ value }: { value: number }) => label(value) },
    })),
  } as echarts.EChartsCoreOption);
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg}\n`;
}

/** Writes an answer to `<folder>/<name>.json` and its chart to `<folder>/<name>.svg`. */
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
