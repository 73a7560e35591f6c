// The tables of the documents, generated from the code. `npm run docs` writes them; readme.test.ts compares them.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { clientMetricList } from "@frontcache/client/testing";
import { type ErrorKind, errorTable } from "@frontcache/proto";
import { exitCodes, metricsTable, settingsTable } from "@frontcache/server/testing";
import type { Answer, Table } from "./bench/answer.js";

const root = join(import.meta.dirname, "..");

export const README = join(root, "README.md");

/** The documents with generated tables. */
export const documents = [README, join(root, "deploy", "metrics.md"), join(root, "client", "README.md")];

function errorsTable(): string {
  const rows = Object.entries(errorTable).map(([code, kind]) => {
    const { condition, http, s3, s3Http = http, retryable }: ErrorKind = kind;
    const s3Status = s3Http === http ? "" : ` (${s3Http})`;
    return `| ${condition} | \`${code}\` | ${http} | ${s3}${s3Status} | ${retryable ? "yes" : "no"} |`;
  });
  return ["| condition | gRPC | HTTP | S3 | retryable |", "|---|---|---|---|---|", ...rows].join("\n");
}

function exitCodesTable(): string {
  const rows = Object.values(exitCodes).map(({ code, text }) => `| ${code} | ${text} |`);
  return ["| exit code | |", "|---|---|", ...rows].join("\n");
}

function clientMetricsTable(): string {
  const rows = Object.values(clientMetricList).map(({ name, unit, description }) => `| \`${name}\` | ${unit} | ${description} |`);
  return ["| name | unit | what it is |", "|---|---|---|", ...rows].join("\n");
}

/** The servers of the question `hot-connections`, and their columns in the table of hits. */
const HIT_COLUMNS: Readonly<Record<string, string>> = {
  "frontcache member": "frontcache",
  "frontcache member, --sendfile false": "`--sendfile false`",
  "nginx, slice cache": "nginx, slice cache",
  "nginx, static file": "nginx, static file",
  "bare net server, slices of a Buffer": "a bare `net` server of the same bytes",
};

/** CPU time per request, from the tables of the question `hot-connections`. Undefined: they lack it, since they are of an older form. */
export function hitsTable(tables: readonly Table[]): string | undefined {
  const rows = tables.flatMap(({ columns, rows }) => {
    const cpu = columns.indexOf("CPU us/request");
    const cells = Object.keys(HIT_COLUMNS).map((name) => rows.find(([server]) => server === name)?.[cpu]);
    if (cpu < 0 || cells.some((cell) => typeof cell !== "number")) return [];
    const size = columns[0]!.split(",")[0]!;
    return [`| ${[size, ...cells.map((cell) => cpuTime(Number(cell)))].join(" | ")} |`];
  });
  if (rows.length === 0) return undefined;
  const columns = ["range", ...Object.values(HIT_COLUMNS)];
  return [`| ${columns.join(" | ")} |`, `|${"---|".repeat(columns.length)}`, ...rows].join("\n");
}

function cpuTime(us: number): string {
  return us < 1_000 ? `${us.toFixed(0)} us` : `${(us / 1_000).toFixed(1)} ms`;
}

function keptTables(question: string): readonly Table[] {
  const file = join(root, "test", "bench", "results", `${question}.json`);
  return (JSON.parse(readFileSync(file, "utf8")) as Answer).tables ?? [];
}

/** Returns a document with current tables. A table without figures stays as it is. */
export function withTables(document: string): string {
  const tables = {
    hits: hitsTable(keptTables("hot-connections")),
    settings: settingsTable().trim(),
    errors: errorsTable(),
    "exit codes": exitCodesTable(),
    metrics: metricsTable(),
    "client-metrics": clientMetricsTable(),
  };
  return Object.entries(tables).reduce(
    (text, [name, table]) =>
      text.replace(new RegExp(`(<!-- ${name}:[^\n]*-->\n).*?(<!-- /${name} -->)`, "s"), (whole, begin, end) =>
        table === undefined ? whole : `${begin}\n${table}\n\n${end}`,
      ),
    document,
  );
}

if (process.argv[1] === import.meta.filename) {
  for (const path of documents) writeFileSync(path, withTables(readFileSync(path, "utf8")));
}
