import { type Parser, wrong } from "./parser.js";
import { duration } from "./quantities.js";

/** A declared bucket of values. */
export interface CacheBucket {
  readonly name: string;
  /** 0: values never expire by default. */
  readonly ttlSeconds: number;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$/;
/** Of parts of uploads. */
const RESERVED = "frontcache-multipart";
const ttl = duration(1_000);

/** Buckets of values, separated by commas: `name` or `name:ttl`. */
export const cacheBuckets: Parser<readonly CacheBucket[]> = {
  unit: "name[:duration],...",
  parse: (text) => {
    const parts = text.split(",").map((part) => part.trim());
    const buckets = parts.filter((part) => part !== "").map(parseBucket);
    const names = new Set<string>();
    for (const { name } of buckets) {
      if (names.has(name)) throw wrong(text, "a list of buckets", "each name once");
      names.add(name);
    }
    return buckets;
  },
};

function parseBucket(text: string): CacheBucket {
  const [name = "", time, ...more] = text.split(":");
  if (!NAME.test(name) || name === RESERVED || more.length > 0) throw wrong(text, "a bucket", "name or name:1h");
  return { name, ttlSeconds: time === undefined ? 0 : Math.floor(ttl.parse(time) / 1_000) };
}
