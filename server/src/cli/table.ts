export interface TableOptions {
  /** Characters per line. */
  readonly width: number;
  /** Headings of columns that are left out, one after the other, while a line is wider. */
  readonly optional: readonly string[];
}

/** A number, perhaps with a unit, or a dash in place of one. */
const NUMBER = /^(?:-|[\d.]+(?: \S+)?)$/;

/** Formats rows under headings. A column is as wide as its widest cell; columns of numbers are right-aligned. */
export function formatTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  { width, optional }: TableOptions,
): string {
  const widths = headings.map((heading, column) => Math.max(heading.length, ...rows.map((row) => row[column]!.length)));
  const isNumber = headings.map((_, column) => rows.length > 0 && rows.every((row) => NUMBER.test(row[column]!)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (isNumber[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join("  ")
      .trimEnd();
  const lines = [headings.map((heading) => heading.toUpperCase()), ...rows].map(line);
  const [leftOut, ...others] = optional;
  if (leftOut === undefined || lines.every(({ length }) => length <= width)) return lines.join("\n");
  const shortened = (cells: readonly string[]): string[] => cells.filter((_, column) => headings[column] !== leftOut);
  return formatTable(shortened(headings), rows.map(shortened), { width, optional: others });
}
