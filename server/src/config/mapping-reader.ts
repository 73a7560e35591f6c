import type { Parser } from "./parser.js";

/** Several things that are wrong with one text: one clause for each. */
export class Problems extends Error {
  constructor(readonly clauses: readonly string[]) {
    super(clauses.join("; "));
  }
}

/**
 * Reads a mapping of a configuration file field by field. What is wrong is noted, with its place, and reading goes on, so that
 * all of it is told at once; what `end` finds unread is unknown.
 */
export class MappingReader {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #known = new Set<string>();

  /** `place` names the mapping in clauses: `origins[0].limits`. A value that is no mapping is noted and read as an empty one. */
  constructor(
    value: unknown,
    readonly place: string,
    private readonly noted: string[],
  ) {
    const isMapping = typeof value === "object" && value !== null && !Array.isArray(value);
    if (!isMapping) this.note("", "not a mapping, write fields with values");
    this.#fields = new Map(isMapping ? Object.entries(value) : []);
  }

  /** Notes what is wrong with a field ("" for the mapping itself). */
  note(field: string, clause: string): void {
    const of = field === "" || this.place === "" ? field : `.${field}`;
    this.noted.push(`${this.place}${of}: ${clause}`);
  }

  has(field: string): boolean {
    return this.#fields.has(field);
  }

  /** The raw value of a field; undefined where it is absent. */
  take(field: string): unknown {
    this.#known.add(field);
    return this.#fields.get(field);
  }

  /** A field that is written as a setting's text is; undefined where it is absent or wrong. */
  parsed<T>(field: string, parser: Parser<T>): T | undefined {
    const value = this.take(field);
    if (value === undefined) return undefined;
    try {
      if (!["string", "number", "boolean"].includes(typeof value)) throw new Error(`not a ${parser.unit}, write one`);
      return parser.parse(String(value));
    } catch (error) {
      this.note(field, (error as Error).message);
      return undefined;
    }
  }

  /** A mapping in this one; undefined where it is absent. */
  nested(field: string): MappingReader | undefined {
    const value = this.take(field);
    return value === undefined ? undefined : this.at(field, value);
  }

  /** A reader of what stands in a field. */
  at(field: string, value: unknown): MappingReader {
    return new MappingReader(value, this.place === "" ? field : `${this.place}.${field}`, this.noted);
  }

  /** Notes the fields that nobody asked for. */
  end(): void {
    const known = [...this.#known].join(", ");
    for (const field of this.#fields.keys()) {
      // A file may name a field anything: a line break in it must not break the one line that tells of it.
      if (!this.#known.has(field))
        this.note(/^[\w-]{1,64}$/.test(field) ? field : quote(field), `not known here, write ${known}`);
    }
  }
}

function quote(field: string): string {
  return JSON.stringify(field.length > 64 ? `${field.slice(0, 64)}...` : field);
}
