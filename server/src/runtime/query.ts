import { decodeOnce } from "./percent-decoding.js";

/** The query of a request. Of a parameter that appears twice, the first one counts, as in S3. */
export class Query {
  /** Encoded values by decoded names; null: the parameter has no equals sign. */
  readonly #values: ReadonlyMap<string, string | null>;

  /** `text` is the query as sent, without the question mark. */
  constructor(text: string) {
    const values = new Map<string, string | null>();
    for (const part of text.split("&")) {
      if (part === "") continue;
      const equals = part.indexOf("=");
      const name = decodedName(equals < 0 ? part : part.slice(0, equals));
      if (!values.has(name)) values.set(name, equals < 0 ? null : part.slice(equals + 1));
    }
    this.#values = values;
  }

  /** Returns whether the parameter appears, with or without a value. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** Returns the decoded value. It is empty for a parameter without one, undefined for a missing parameter. Throws INVALID_ARGUMENT. */
  get(name: string): string | undefined {
    const value = this.#values.get(name);
    return value === undefined ? undefined : value === null ? "" : decodeOnce(value.replaceAll("+", " "), "query");
  }

  /** Returns the names of all parameters, in the order in which they appear. */
  names(): IterableIterator<string> {
    return this.#values.keys();
  }

  /** Returns whether the parameter appears without a value: `name` or `name=`. */
  isBare(name: string): boolean {
    const value = this.#values.get(name);
    return value === null || value === "";
  }
}

/** The query of a request without one. */
export const NO_QUERY = new Query("");

/** A name that cannot be decoded is no name of S3's, so the parameter is ignored on reads like other unknown ones. */
function decodedName(text: string): string {
  try {
    return decodeOnce(text.replaceAll("+", " "), "query");
  } catch {
    return text;
  }
}
