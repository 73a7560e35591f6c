import { type BucketPattern, parseBucketPattern } from "./bucket-pattern.js";
import type { MappingReader } from "./mapping-reader.js";
import { bool, line, type Parser, wrong } from "./parser.js";
import { duration, size, whole } from "./quantities.js";

/** What a member may ask of one origin. Undefined: what the settings say. */
export interface RuleLimits {
  readonly requestsPerSecond: number | undefined;
  readonly bytesPerSecond: number | undefined;
  readonly concurrency: number | undefined;
  readonly maxWaitMs: number | undefined;
}

/** Names of the environment variables that hold keys. */
export interface KeyVariables {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | undefined;
}

interface AnyRule {
  /** All of one scheme, at least one. */
  readonly buckets: readonly BucketPattern[];
  /** `http(s)://host[:port][/prefix]`; undefined: the store's own. */
  readonly endpoint: string | undefined;
  readonly limits: RuleLimits;
  readonly hedge: boolean | undefined;
}

export interface S3Rule extends AnyRule {
  readonly scheme: "s3";
  readonly region: string | undefined;
  readonly pathStyle: boolean | undefined;
  readonly credentials: "default" | "anonymous" | { readonly profile: string } | { readonly keys: KeyVariables };
  readonly requesterPays: boolean;
}

export interface GcsRule extends AnyRule {
  readonly scheme: "gs";
  readonly credentials: "default" | "anonymous" | { readonly keyFile: string };
  readonly userProject: string | undefined;
}

/** One origin of the origins file. */
export type OriginRule = S3Rule | GcsRule;

/** Reads one origin; undefined where its buckets are wrong. All that is wrong is noted. */
export function readOriginRule(rule: MappingReader): OriginRule | undefined {
  const buckets = readBuckets(rule);
  const scheme = buckets[0]?.scheme;
  if (scheme === undefined) return undefined;
  if (buckets.some((pattern) => pattern.scheme !== scheme)) rule.note("buckets", "of two schemes, write one origin for each");
  const any = {
    buckets,
    endpoint: rule.parsed("endpoint", httpUrl),
    limits: readLimits(rule),
    hedge: rule.parsed("hedge", bool),
  };
  const read: OriginRule =
    scheme === "s3"
      ? {
          ...any,
          scheme,
          region: rule.parsed("region", region),
          pathStyle: rule.parsed("pathStyle", bool),
          credentials: readS3Credentials(rule),
          requesterPays: rule.parsed("requesterPays", bool) ?? false,
        }
      : { ...any, scheme, credentials: readGcsCredentials(rule), userProject: rule.parsed("userProject", line("project")) };
  rule.end();
  return read;
}

function readBuckets(rule: MappingReader): BucketPattern[] {
  const value = rule.take("buckets");
  const texts: unknown[] = Array.isArray(value) ? value : value === undefined ? [] : [value];
  if (texts.length === 0) rule.note("buckets", "missing, write s3://name, s3://beginning* or gs://*");
  return texts.flatMap((text) => {
    try {
      return [parseBucketPattern(String(text))];
    } catch (error) {
      rule.note("buckets", (error as Error).message);
      return [];
    }
  });
}

function readLimits(rule: MappingReader): RuleLimits {
  const limits = rule.nested("limits");
  const read = {
    requestsPerSecond: limits?.parsed("requestsPerSecond", whole(1, 1_000_000)),
    bytesPerSecond: limits?.parsed("bytesPerSecond", size(1)),
    concurrency: limits?.parsed("concurrency", whole(1, 100_000)),
    maxWaitMs: limits?.parsed("maxWait", duration(0)),
  };
  limits?.end();
  return read;
}

function readS3Credentials(rule: MappingReader): S3Rule["credentials"] {
  const mapping = readCredentials(rule, "default, anonymous, profile or keys");
  if (typeof mapping === "string") return mapping;
  const profile = mapping.parsed("profile", line("profile"));
  const keys = mapping.nested("keys");
  mapping.end();
  if (profile !== undefined && keys !== undefined) mapping.note("", "both profile and keys, write one of them");
  if (keys === undefined) {
    if (profile === undefined && !mapping.has("profile")) mapping.note("", "missing, write profile or keys");
    return { profile: profile ?? "" };
  }
  const read = {
    accessKeyId: keys.parsed("accessKeyId", variableName),
    secretAccessKey: keys.parsed("secretAccessKey", variableName),
    sessionToken: keys.parsed("sessionToken", variableName),
  };
  keys.end();
  for (const field of ["accessKeyId", "secretAccessKey"] as const) {
    if (!keys.has(field)) keys.note(field, "missing, name the environment variable that holds it");
  }
  return { keys: { ...read, accessKeyId: read.accessKeyId ?? "", secretAccessKey: read.secretAccessKey ?? "" } };
}

function readGcsCredentials(rule: MappingReader): GcsRule["credentials"] {
  const mapping = readCredentials(rule, "default, anonymous or keyFile");
  if (typeof mapping === "string") return mapping;
  const keyFile = mapping.parsed("keyFile", line("path"));
  mapping.end();
  if (!mapping.has("keyFile")) mapping.note("", "missing, write keyFile");
  return { keyFile: keyFile ?? "" };
}

function readCredentials(rule: MappingReader, write: string): "default" | "anonymous" | MappingReader {
  const value = rule.take("credentials");
  if (value === undefined || value === "default") return "default";
  if (value === "anonymous") return "anonymous";
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return rule.at("credentials", value);
  // Not quoted: it may be a secret that somebody wrote here.
  rule.note("credentials", `not known here, write ${write}`);
  return "default";
}

const httpUrl: Parser<string> = {
  unit: "URL",
  parse(text) {
    const url = /^https?:\/\/[^\s/?#@]+(?:\/[^\s?#]*)?$/.test(text) && URL.canParse(text);
    if (!url) throw wrong(text, "an endpoint", "http://host:port or https://host");
    return text.replace(/\/+$/, "");
  },
};

const region: Parser<string> = {
  unit: "region",
  parse(text) {
    if (!/^[a-z0-9-]{1,40}$/.test(text)) throw wrong(text, "a region", "one as in eu-central-1");
    return text;
  },
};

/** In capitals, and never quoted: where the name of a variable should stand, somebody may have written the key. */
const variableName: Parser<string> = {
  unit: "name of an environment variable",
  parse(text) {
    if (!/^[A-Z_][A-Z0-9_]{0,200}$/.test(text)) throw new Error("not the name of an environment variable, write one in capitals");
    return text;
  },
};
