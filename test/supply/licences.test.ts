import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type LockedPackage, lockedPackages, root } from "./manifests.js";

/** Licences (SPDX) that require no more than a notice. */
const ALLOWED = new Set([
  "0BSD",
  "Apache-2.0",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "CC0-1.0",
  "ISC",
  "MIT",
  "Python-2.0",
  "Unlicense",
]);

/**
 * Returns whether an SPDX expression permits an allowed choice: one side of an OR, both sides of an AND. Brackets cannot be
 * nested.
 */
function isAllowed(expression: string): boolean {
  const bare = expression.replace(/[()]/g, "");
  return bare.split(" OR ").some((choice) => choice.split(" AND ").every((licence) => ALLOWED.has(licence.trim())));
}

/** Returns the licence of a package from the lockfile, or from the list in old manifests; "none" if there is neither. */
function licenceOf(place: string, { license }: LockedPackage): string {
  if (license !== undefined) return license;
  const manifest = join(root, place, "package.json");
  if (!existsSync(manifest)) return "none";
  const { licenses = [] }: { licenses?: readonly { readonly type: string }[] } = JSON.parse(readFileSync(manifest, "utf8"));
  return licenses.map(({ type }) => type).join(" OR ") || "none";
}

describe("licences", () => {
  it("of all production dependencies require no more than a notice", () => {
    const production = [...lockedPackages()].filter(([, { dev }]) => dev !== true);
    expect(production.length).toBeGreaterThan(100);
    const licences = production.map(([place, locked]) => [place, licenceOf(place, locked)] as const);
    expect(licences.filter(([, licence]) => !isAllowed(licence))).toEqual([]);
  });

  it("are read as SPDX expressions", () => {
    expect(isAllowed("(MIT OR GPL-3.0-only)")).toBe(true);
    expect(isAllowed("(Apache-2.0 AND BSD-3-Clause)")).toBe(true);
    expect(isAllowed("(MIT AND GPL-3.0-only)")).toBe(false);
    expect(isAllowed("SEE LICENSE IN LICENSE.md")).toBe(false);
    expect(isAllowed("none")).toBe(false);
  });
});
