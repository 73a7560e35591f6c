import { type Declaration, declarations, settingNames, variableOf } from "../config/declarations.js";

/** Returns all settings as a Markdown table for the documentation; a test compares it. */
export function settingsTable(): string {
  const rows = settingNames.map((name) => {
    const declaration: Declaration<unknown> = declarations[name];
    const { flag, parser, defaultText, text } = declaration;
    return row([`\`--${flag}\``, `\`${variableOf(declaration)}\``, parser.unit, defaultText || "none", text]);
  });
  return [
    row(["flag", "environment", "value", "default", "what it is"]),
    row(["---", "---", "---", "---", "---"]),
    ...rows,
    "",
  ].join("\n");
}

/** Formats a row. Pipes are escaped, because they would end a cell. */
function row(cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}
