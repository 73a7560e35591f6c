import { CacheError, type S3Code } from "@frontcache/proto";

/** What a policy is compared with. */
export interface JudgedForm {
  readonly bucket: string;
  /** The key with the file's name in it. */
  readonly key: string;
  /** Values by names in lower case, the key as sent among them. */
  readonly fields: ReadonlyMap<string, string>;
}

/** The lengths that a policy permits, bytes. */
export interface LengthRange {
  readonly min: number;
  readonly max: number;
}

interface Condition {
  readonly kind: "eq" | "starts-with";
  /** In lower case. */
  readonly field: string;
  readonly value: string;
  /** As it stands in the policy, for messages. */
  readonly text: string;
}

const EXPIRATION = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/;
const BASE64 = /^[A-Za-z0-9+/\s]*={0,2}\s*$/;

/** Fields that a policy need not name: of the signature, and those that say that they are ignored. */
const NOT_JUDGED = /^(?:policy|signature|awsaccesskeyid|x-amz-signature|x-ignore-.*)$/;

/** A policy, with which somebody who signed it permits others to upload a file by a form. */
export class PostPolicy {
  readonly #expiresAtMs: number;
  readonly #conditions: readonly Condition[];
  readonly #lengths: readonly LengthRange[];

  /** Parses a policy in base64. Throws InvalidPolicyDocument. */
  constructor(base64: string) {
    const { expiration, conditions } = parsed(base64);
    if (typeof expiration !== "string" || !EXPIRATION.test(expiration)) throw invalid("'expiration' must be a time of ISO 8601");
    this.#expiresAtMs = Date.parse(expiration);
    if (Number.isNaN(this.#expiresAtMs)) throw invalid("'expiration' is no time");
    if (!Array.isArray(conditions)) throw invalid("'conditions' must be a list");
    this.#conditions = conditions.flatMap(comparisonsOf);
    this.#lengths = conditions.flatMap(lengthsOf);
  }

  /** Throws AccessDenied unless the policy permits the form, whose file may have any length. */
  check({ bucket, key, fields }: JudgedForm, nowMs: number): void {
    if (this.#expiresAtMs <= nowMs) throw denied("Policy expired");
    const judged = new Map([...fields].filter(([name]) => !NOT_JUDGED.test(name)));
    judged.set("bucket", bucket).set("key", key);
    for (const { kind, field, value, text } of this.#conditions) {
      const given = judged.get(field) ?? "";
      const isMet = kind === "eq" ? given === value : valuesOf(field, given).every((each) => each.startsWith(value));
      if (!isMet) throw denied(`Policy Condition failed: ${text}`);
    }
    const named = new Set(this.#conditions.map(({ field }) => field));
    const extra = [...judged.keys()].filter((name) => !named.has(name));
    if (extra.length > 0) throw denied(`Extra input fields: ${extra.join(", ").slice(0, 200)}`);
  }

  /** Throws S3's error unless the policy permits a file of this length. */
  checkLength(bytes: number): void {
    for (const { min, max } of this.#lengths) {
      if (bytes < min) throw refused("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size");
      if (bytes > max) throw refused("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size");
    }
  }
}

/** A Content-Type may be a list, all of whose entries are compared. */
function valuesOf(field: string, value: string): string[] {
  return field === "content-type" ? value.split(",").map((each) => each.trim()) : [value];
}

function parsed(base64: string): { readonly expiration?: unknown; readonly conditions?: unknown } {
  if (!BASE64.test(base64)) throw invalid("it is not base64");
  // S3's policies escape dollar signs and vertical tabs, which JSON does not.
  const json = Buffer.from(base64, "base64")
    .toString()
    .replace(/\\(.)/gs, (escaped, char: string) => (char === "$" ? "$" : char === "v" ? "\\u000b" : escaped));
  try {
    const policy: unknown = JSON.parse(json);
    if (typeof policy === "object" && policy !== null && !Array.isArray(policy)) return policy;
  } catch {
    // The same error follows.
  }
  throw invalid("it is not a JSON object");
}

/** The comparisons of one condition: `{"field": "value"}`, `["eq", "$field", "value"]` or `["starts-with", "$field", "value"]`. */
function comparisonsOf(condition: unknown): Condition[] {
  if (Array.isArray(condition)) {
    const [operator, field, value] = condition;
    const kind = typeof operator === "string" ? operator.toLowerCase() : "";
    if (kind === "content-length-range") return [];
    if (kind !== "eq" && kind !== "starts-with") throw invalid("a condition has an unknown operator");
    if (condition.length !== 3 || typeof field !== "string" || !field.startsWith("$") || typeof value !== "string") {
      throw invalid(`a condition ${kind} must have a field and a value`);
    }
    return [{ kind, field: field.slice(1).toLowerCase(), value, text: JSON.stringify(condition) }];
  }
  const entries = typeof condition === "object" && condition !== null ? Object.entries(condition) : [];
  if (entries.length === 0) throw invalid("a condition is empty");
  return entries.map(([field, value]) => {
    if (typeof value !== "string") throw invalid("the value of a condition must be text");
    return { kind: "eq", field: field.toLowerCase(), value, text: JSON.stringify(["eq", `$${field}`, value]) };
  });
}

/** The lengths that one condition permits: `["content-length-range", 0, 1048576]`. */
function lengthsOf(condition: unknown): LengthRange[] {
  if (!Array.isArray(condition) || String(condition[0]).toLowerCase() !== "content-length-range") return [];
  const [min, max] = condition.slice(1).map((each: unknown) => (/^\d{1,15}$/.test(String(each)) ? Number(each) : undefined));
  if (condition.length !== 3 || min === undefined || max === undefined)
    throw invalid("content-length-range must have two lengths");
  return [{ min, max }];
}

function invalid(why: string): CacheError {
  return refused("InvalidPolicyDocument", `Invalid Policy: ${why}.`);
}

function refused(s3Code: S3Code, message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", message, { s3Code });
}

/** The credentials are right; what was signed by them does not permit the request. */
function denied(why: string): CacheError {
  return new CacheError("PERMISSION_DENIED", `Invalid according to Policy: ${why}.`, { s3Code: "AccessDenied" });
}
