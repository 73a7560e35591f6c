import type { Parser } from "./parser.js";

/** Several problems of one text: one clause for each. */
export class Problems extends Error {
  readonly clauses: readonly string[];

  constructor(clauses: readonly string[]) {
    super(clauses.join("; "));
    this.clauses = clauses;
  }
}

/**
 * Reads a mapping of a configuration file field by field. It collects all problems with their place. Fields that were not read
 * before `end` are unknown fields.
 */
export class MappingReader {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #known = new Set<string>();
  readonly #place: string;
  readonly #problems: string[];

  /**
   * `place` names the mapping in messages: `origins[0].limits`. A value that is not a mapping is reported, and read as an empty
   * mapping.
   */
  constructor(value: unknown, place: string, problems: string[]) {
    this.#place = place;
    this.#problems = problems;
    const isMapping = typeof value === "object" && value !== null && !Array.isArray(value);
    if (!isMapping) this.note("", "is not a mapping: use fields with values");
    this.#fields = new Map(isMapping ? Object.entries(value) : []);
  }

  /** Adds a problem of a field ("" for the mapping itself). */
  note(field: string, clause: string): void {
    const of = field === "" || this.#place === "" ? field : `.${field}`;
    this.#problems.push(`${this.#place}${of}: ${clause}`);
  }

  has(field: string): boolean {
    return this.#fields.has(field);
  }

  /** The raw value of a field; undefined if it is missing. */
  take(field: string): unknown {
    this.#known.add(field);
    return this.#fields.get(field);
  }

  /** The value of a field in the format of a setting; undefined if it is missing or invalid. */
  parsed<T>(field: string, parser: Parser<T>): T | undefined {
    const value = this.take(field);
    if (value === undefined) return undefined;
    try {
      if (!["string", "number", "boolean"].includes(typeof value)) throw new Error(`is not a ${parser.unit}`);
      return parser.parse(String(value));
    } catch (error) {
      this.note(field, (error as Error).message);
      return undefined;
    }
  }

  /** A mapping in this one; undefined if it is missing. */
  nested(field: string): MappingReader | undefined {
    const value = this.take(field);
    return value === undefined ? undefined : this.at(field, value);
  }

  /** A reader of the mapping in a field. */
  at(field: string, value: unknown): MappingReader {
    return new MappingReader(value, this.#place === "" ? field : `${this.#place}.${field}`, this.#problems);
  }

  /** Adds a problem for each unknown field. */
  end(): void {
    const known = [...this.#known].join(", ");
    for (const field of this.#fields.keys()) {
      // A field name may contain a line break; the message must stay one line.
      if (!this.#known.has(field)) this.note(/^[\w-]{1,64}$/.test(field) ? field : quote(field), `unknown field: use ${known}`);
    }
  }
}

function quote(field: string): string {
  return JSON.stringify(field.length > 64 ? `${field.slice(0, 64)}...` : field);
}
