import type { Parser } from "./parser.js";
import { readSettingsFile } from "./settings-file.js";

/** The path of a file with certificates (PEM). The file must be readable and contain one. */
export const certificateFile: Parser<string> = {
  unit: "path",
  parse(text) {
    const { path, content } = readSettingsFile(text);
    if (!content.includes("-----BEGIN CERTIFICATE-----")) throw new Error(`${path} contains no certificate (PEM)`);
    return path;
  },
};
