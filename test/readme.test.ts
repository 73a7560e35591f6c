import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { README, withTables } from "./readme-tables.js";

const readme = readFileSync(README, "utf8");

describe("the README", () => {
  it("lists settings and errors as the code declares them (else: npm run docs)", () => {
    expect(readme).toBe(withTables(readme));
    expect(readme).toContain("| `--cache-dirs` |");
    expect(readme).toContain("| `FAILED_PRECONDITION` | 412 |");
  });

  it("links only to files that exist", () => {
    const links = [...readme.matchAll(/\]\((?!http)([^)#]+)\)/g)].map((match) => match[1]!);
    expect(links.length).toBeGreaterThan(8);
    expect(links.filter((link) => !existsSync(join(README, "..", link)))).toEqual([]);
  });
});
