import { SCHEME_PATTERN, type Scheme } from "@frontcache/proto";
import { type Parser, wrong } from "./parser.js";

/** Buckets by name, by the beginning of their names (`logs-*`), or all (`*`). */
export interface BucketPattern {
  readonly scheme: Scheme;
  readonly bucket: string;
}

const FORM = new RegExp(`^(${SCHEME_PATTERN})://([A-Za-z0-9._-]*\\*|[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9])$`);

/** Reads `s3://name`, `s3://beginning*` or `gs://*`. Throws an Error that says what to write. */
export function parseBucketPattern(text: string): BucketPattern {
  const match = FORM.exec(text);
  if (match === null) throw wrong(text, "a bucket", "s3://name, s3://beginning* or gs://*");
  return { scheme: match[1] as Scheme, bucket: match[2]! };
}

/** Patterns by commas, at least one. */
export const bucketPatterns: Parser<readonly BucketPattern[]> = {
  unit: "s3://name,gs://beginning*,...",
  parse: (text) => text.split(",").map((part) => parseBucketPattern(part.trim())),
};

/** Whether the first pattern takes every bucket of the second. */
export function covers(first: BucketPattern, second: BucketPattern): boolean {
  if (first.scheme !== second.scheme) return false;
  return first.bucket.endsWith("*") ? second.bucket.startsWith(first.bucket.slice(0, -1)) : first.bucket === second.bucket;
}
