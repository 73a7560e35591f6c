import type { MappingReader } from "../../config/mapping-reader.js";

/** Upper bound of the entries of a list inside an entry of the identities file. */
export const MAX_PER_ENTRY = 1_000;

export interface TextOptions {
  readonly required?: boolean;
  /** Messages do not quote it. */
  readonly isSecret?: boolean;
}

/** Returns the texts of a field that is one text or a list of texts. Problems are noted; invalid texts are left out. */
export function texts(entry: MappingReader, field: string, form: RegExp, use: string, options: TextOptions = {}): string[] {
  const value = entry.take(field);
  if (value === undefined) {
    if (options.required === true) entry.note(field, `missing: ${use}`);
    return [];
  }
  const all: unknown[] = Array.isArray(value) ? value : [value];
  if (all.length > MAX_PER_ENTRY) entry.note(field, `has more than ${MAX_PER_ENTRY} entries`);
  return all.flatMap((each) => {
    if (typeof each === "string" && form.test(each)) return [each];
    const quoted = options.isSecret === true || typeof each !== "string" ? "a value" : JSON.stringify(each.slice(0, 100));
    entry.note(field, `${quoted} is invalid: ${use}`);
    return [];
  });
}
