import { readFileSync } from "node:fs";
import { resolve } from "node:path";

/** Reads a file that a setting names. Returns its absolute path and its text, or throws an error with the path and the cause. */
export function readSettingsFile(name: string): { readonly path: string; readonly content: string } {
  const path = resolve(name);
  try {
    return { path, content: readFileSync(path, "utf8") };
  } catch (error) {
    throw new Error(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
