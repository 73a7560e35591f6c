// The README's tables, made from the code. `npm run docs` writes them; readme.test.ts compares them.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorTable } from "@frontcache/proto";
import { status } from "@grpc/grpc-js";
import { settingsTable } from "../server/src/config/settings-table.js";

export const README = join(import.meta.dirname, "..", "README.md");

function errorsTable(): string {
  const rows = Object.values(errorTable).map(
    ({ condition, grpc, http, retryable }) => `| ${condition} | \`${status[grpc]}\` | ${http} | ${retryable ? "yes" : "no"} |`,
  );
  return ["| condition | gRPC | HTTP | worth another try |", "|---|---|---|---|", ...rows].join("\n");
}

/** A README with its tables as they should be. */
export function withTables(readme: string): string {
  const tables = { settings: settingsTable().trim(), errors: errorsTable() };
  return Object.entries(tables).reduce(
    (text, [name, table]) =>
      text.replace(
        new RegExp(`(<!-- ${name}:[^\n]*-->\n).*?(<!-- /${name} -->)`, "s"),
        (_, begin, end) => `${begin}\n${table}\n\n${end}`,
      ),
    readme,
  );
}

if (process.argv[1] === import.meta.filename) writeFileSync(README, withTables(readFileSync(README, "utf8")));
