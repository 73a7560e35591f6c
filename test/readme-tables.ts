// The tables of the documents, generated from the code. `npm run docs` writes them; readme.test.ts compares them.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { clientMetricList } from "@frontcache/client/testing";
import { type ErrorKind, errorTable } from "@frontcache/proto";
import { exitCodes, metricsTable, settingsTable } from "@frontcache/server/testing";

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

/** Returns a document with current tables. */
export function withTables(document: string): string {
  const tables = {
    settings: settingsTable().trim(),
    errors: errorsTable(),
    "exit codes": exitCodesTable(),
    metrics: metricsTable(),
    "client-metrics": clientMetricsTable(),
  };
  return Object.entries(tables).reduce(
    (text, [name, table]) =>
      text.replace(
        new RegExp(`(<!-- ${name}:[^\n]*-->\n).*?(<!-- /${name} -->)`, "s"),
        (_, begin, end) => `${begin}\n${table}\n\n${end}`,
      ),
    document,
  );
}

if (process.argv[1] === import.meta.filename) {
  for (const path of documents) writeFileSync(path, withTables(readFileSync(path, "utf8")));
}
