import type { Command } from "commander";

/** The option of every command that prints data. */
export interface JsonFlags {
  readonly json?: boolean;
}

/** Adds the option of `JsonFlags`. */
export function addJsonOption(command: Command): Command {
  return command.option("--json", "print one JSON object instead of text");
}

/** Prints fields as `name: value` lines without control characters, or as one line of JSON. Omits undefined fields. */
export function printFields(fields: Readonly<Record<string, string | number | undefined>>, { json }: JsonFlags): void {
  const known = Object.entries(fields).filter(([, value]) => value !== undefined);
  const width = Math.max(...known.map(([name]) => name.length));
  const text = json
    ? JSON.stringify(Object.fromEntries(known))
    : known.map(([name, value]) => `${`${name}:`.padEnd(width + 1)} ${String(value).replace(/\p{Cc}/gu, "?")}`).join("\n");
  process.stdout.write(`${text}\n`);
}
