import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { exitCodeText } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { documents, README, withTables } from "./readme-tables.js";

const readme = readFileSync(README, "utf8");

describe("the documents", () => {
  it.each(documents)("%s: tables are as the code declares them (else: npm run docs)", (path) => {
    const document = readFileSync(path, "utf8");
    expect(document).toBe(withTables(document));
  });
});

describe("the server's README", () => {
  it("has the exit codes that commands end with", () => {
    expect(readFileSync(join(README, "..", "server", "README.md"), "utf8")).toContain(`Exit codes: ${exitCodeText}.`);
  });
});

describe("the README", () => {
  it("lists settings and errors", () => {
    expect(readme).toContain("| `--cache-dirs` |");
    expect(readme).toContain("| `FAILED_PRECONDITION` | 412 |");
  });

  it("links only to files that exist", () => {
    const links = [...readme.matchAll(/\]\((?!http)([^)#]+)\)/g)].map((match) => match[1]!);
    expect(links.length).toBeGreaterThan(8);
    expect(links.filter((link) => !existsSync(join(README, "..", link)))).toEqual([]);
  });
});
