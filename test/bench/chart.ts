import * as echarts from "echarts";
import type { Chart } from "./answer.js";

const WIDTH = 860;
/** For the title, the axis and the edges. */
const AROUND = 96;
const BAR_HEIGHT = 22;
const BAR_GAP = 14;
const LETTER_WIDTH = 6.8;

/** Legible on white as on the dark grey of night modes: nothing is painted behind the chart. */
const INK = "#768390";
const LINES = "#76839055";
const OURS = ["#2f81f7", "#8957e5", "#1b9aaa"];
const OTHERS = ["#8d96a0", "#a99d90", "#9fa58f"];

function label(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}

/** The chart as an SVG file's text, drawn without a browser. */
export function drawChart(title: string, { unit, groups = [""], bars }: Chart): string {
  const height = AROUND + bars.length * (groups.length * BAR_HEIGHT + BAR_GAP) + (groups.length > 1 ? 24 : 0);
  // Nobody can measure text here, and fonts differ: room for wide letters.
  const left = Math.max(...bars.map(({ name }) => name.length)) * LETTER_WIDTH + 20;
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  chart.setOption({
    animation: false,
    textStyle: { color: INK, fontFamily: "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" },
    title: { text: title, left: 8, top: 8, textStyle: { color: INK, fontSize: 15, fontWeight: 600 } },
    ...(groups.length > 1 ? { legend: { top: 34, left: 8, textStyle: { color: INK } } } : {}),
    grid: { left, right: 72, top: groups.length > 1 ? 66 : 42, bottom: 44, outerBoundsMode: "none" },
    xAxis: {
      type: "value",
      name: unit,
      nameLocation: "middle",
      nameGap: 26,
      nameTextStyle: { color: INK },
      axisLabel: { color: INK },
      splitLine: { lineStyle: { color: LINES } },
    },
    yAxis: {
      type: "category",
      inverse: true,
      data: bars.map(({ name }) => name),
      axisLabel: { color: INK, fontSize: 12 },
      axisLine: { lineStyle: { color: LINES } },
      axisTick: { show: false },
    },
    series: groups.map((name, group) => ({
      name,
      type: "bar",
      barWidth: BAR_HEIGHT - 6,
      itemStyle: { color: OURS[group] },
      data: bars.map(({ values, ours }) => ({ value: values[group], itemStyle: { color: (ours ? OURS : OTHERS)[group] } })),
      label: { show: true, position: "right", color: INK, formatter: ({ value }: { value: number }) => label(value) },
    })),
  } as echarts.EChartsCoreOption);
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg}\n`;
}
