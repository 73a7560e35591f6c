import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Parser } from "./parser.js";

/** The path of a file with certificates (PEM). The file must be readable and contain one. */
export const certificateFile: Parser<string> = {
  unit: "path",
  parse(text) {
    const path = resolve(text);
    let content: string;
    try {
      content = readFileSync(path, "utf8");
    } catch (error) {
      throw new Error(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
    }
    if (!content.includes("-----BEGIN CERTIFICATE-----")) throw new Error(`${path} contains no certificate (PEM)`);
    return path;
  },
};
