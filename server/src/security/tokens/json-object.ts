/** Parses a JSON object. Throws for anything else. `from` names the source in the error. */
export function jsonObject(text: string, from: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The same error as for other values.
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Readonly<Record<string, unknown>>;
  throw new Error(`${from} is not a JSON object`);
}
