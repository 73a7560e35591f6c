import { SCHEME_PATTERN, type Scheme } from "@frontcache/proto";
import { type Parser, wrong } from "./parser.js";

/** Matches buckets by name, by a prefix of the name (`logs-*`), or all (`*`). */
export interface BucketPattern {
  readonly scheme: Scheme;
  readonly bucket: string;
}

const NAME = "[A-Za-z0-9._-]*\\*|[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]";

/** A tenant of Ceph may precede the name, with a colon. */
const FORM = new RegExp(`^(${SCHEME_PATTERN})://((?:[A-Za-z0-9_]{0,64}:)?(?:${NAME}))$`);

/** Parses `s3://name`, `s3://prefix*` or `gs://*`. Throws an Error that says what to use. */
export function parseBucketPattern(text: string): BucketPattern {
  const match = FORM.exec(text);
  if (match === null) throw wrong(text, "a bucket", "s3://name, s3://prefix* or gs://*");
  return { scheme: match[1] as Scheme, bucket: match[2]! };
}

/** Patterns separated by commas, at least one. */
export const bucketPatterns: Parser<readonly BucketPattern[]> = {
  unit: "s3://name,gs://prefix*,...",
  parse: (text) => text.split(",").map((part) => parseBucketPattern(part.trim())),
};

/** Returns whether the first pattern matches every bucket of the second. */
export function covers(first: BucketPattern, second: BucketPattern): boolean {
  if (first.scheme !== second.scheme) return false;
  return first.bucket.endsWith("*") ? second.bucket.startsWith(first.bucket.slice(0, -1)) : first.bucket === second.bucket;
}

/** Returns the buckets of a scheme that patterns name exactly, sorted and without duplicates. */
export function literalNames(patterns: readonly BucketPattern[], scheme: Scheme): string[] {
  const names = patterns.flatMap((pattern) =>
    pattern.scheme === scheme && !pattern.bucket.endsWith("*") ? [pattern.bucket] : [],
  );
  return [...new Set(names)].sort();
}
