import { CacheError } from "@frontcache/proto";

/** A type of option: a test, and its name for messages. */
interface Kind {
  readonly is: (value: unknown) => boolean;
  readonly name: string;
}

const TEXT: Kind = { is: (value) => typeof value === "string", name: "a text" };
const SWITCH: Kind = { is: (value) => typeof value === "boolean", name: "true or false" };
const FUNCTION: Kind = { is: (value) => typeof value === "function", name: "a function" };
const OBJECT: Kind = { is: (value) => typeof value === "object" && value !== null && !Array.isArray(value), name: "an object" };
const SIGNAL: Kind = { is: isSignal, name: "an AbortSignal" };
const GIVEN_TEXT: Kind = { is: (value) => TEXT.is(value) || FUNCTION.is(value), name: "a text, or a function that returns one" };
const GIVEN_OBJECT: Kind = {
  is: (value) => OBJECT.is(value) || FUNCTION.is(value),
  name: "an object, or a function that returns one",
};

/** The types of options by name, which are the same in all calls. Options with further rules are checked where they are used. */
const KINDS: ReadonlyMap<string, Kind> = new Map(
  Object.entries({
    signal: SIGNAL,
    version: TEXT,
    reuse: SWITCH,
    lazy: SWITCH,
    dryRun: SWITCH,
    ifMissing: SWITCH,
    log: FUNCTION,
    onProgress: FUNCTION,
    near: OBJECT,
    fallback: OBJECT,
    metadata: OBJECT,
    tls: GIVEN_OBJECT,
    token: GIVEN_TEXT,
    tokenFile: TEXT,
    accessKey: GIVEN_OBJECT,
    serverName: TEXT,
    contentType: TEXT,
    contentEncoding: TEXT,
    contentDisposition: TEXT,
    cacheControl: TEXT,
    ifVersion: TEXT,
    delimiter: TEXT,
    after: TEXT,
  }),
);

/** Throws INVALID_ARGUMENT for an unknown option, which is probably misspelt, and for one of a wrong type. */
export function checkOptions(options: object, known: ReadonlySet<string>): void {
  if (typeof options !== "object" || options === null) {
    throw new CacheError("INVALID_ARGUMENT", `the options are ${options === null ? "null" : typeof options}: give an object`);
  }
  for (const name in options) {
    if (!known.has(name)) {
      throw new CacheError("INVALID_ARGUMENT", `the option ${JSON.stringify(name)} is unknown: use ${[...known].join(", ")}`);
    }
    const value: unknown = (options as Record<string, unknown>)[name];
    const kind = KINDS.get(name);
    if (value !== undefined && kind !== undefined && !kind.is(value)) {
      throw new CacheError("INVALID_ARGUMENT", `${name} ${typeName(value)} is not ${kind.name}`);
    }
  }
}

/** Throws INVALID_ARGUMENT unless the value can be iterated over. A text is no list of texts. */
export function checkIterable(what: string, value: unknown): void {
  const isIterable = typeof value === "object" && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value);
  if (!isIterable) throw new CacheError("INVALID_ARGUMENT", `${what} ${typeName(value)} is not a list, or another iterable`);
}

/** Returns the value as an object's. Throws INVALID_ARGUMENT unless it is one. */
export function checkObject<Value>(what: string, value: Value): Value & object {
  if (OBJECT.is(value)) return value as Value & object;
  throw new CacheError("INVALID_ARGUMENT", `${what} ${typeName(value)} is not an object`);
}

/** Throws INVALID_ARGUMENT unless the value is a version or empty. */
export function checkText(what: string, value: unknown): void {
  if (typeof value !== "string") throw new CacheError("INVALID_ARGUMENT", `${what} ${typeName(value)} is not a text`);
}

/** Names a value without its contents, which may be secret. */
function typeName(value: unknown): string {
  if (value === null || typeof value === "number" || typeof value === "boolean") return `(${value})`;
  return Array.isArray(value) ? "(an array)" : `(${typeof value})`;
}

function isSignal(value: unknown): boolean {
  const signal = value as AbortSignal | null;
  return typeof signal === "object" && typeof signal?.aborted === "boolean" && typeof signal.addEventListener === "function";
}
