import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { exitCodeText } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { documents, hitsTable, README, withTables } from "./readme-tables.js";

const readme = readFileSync(README, "utf8");

describe("the documents", () => {
  it.each(documents)("%s: tables are as the code declares them (else: npm run docs)", (path) => {
    const document = readFileSync(path, "utf8");
    expect(document).toBe(withTables(document));
  });
});

describe("the table of hits", () => {
  const servers = [
    ["frontcache member", 24.4],
    ["frontcache member, --sendfile false", 27],
    ["plain node:http, slices of a Buffer", 30],
    ["nginx, slice cache", 1_234],
    ["nginx, static file", 15],
    ["bare net server, slices of a Buffer", 18],
  ] as const;

  it("has a row for each size that was measured, and a column for each server that it names", () => {
    const rows = servers.map(([name, us]) => [name, 1_000, us]);
    const table = hitsTable([{ columns: ["4 KiB, 64 connections", "requests/s", "CPU us/request"], rows }]);
    expect(table?.split("\n").at(-1)).toBe("| 4 KiB | 24 us | 27 us | 1.2 ms | 15 us | 18 us |");
  });

  it("is not written from a result without the CPU time of all of them", () => {
    expect(hitsTable([{ columns: ["reads/s, 64 connections", "4 KiB"], rows: [["frontcache member", 48_068]] }])).toBeUndefined();
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
