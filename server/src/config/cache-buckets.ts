import { type Parser, wrong } from "./parser.js";
import { duration, percent, size } from "./quantities.js";

/** A declared bucket of values. */
export interface CacheBucket {
  readonly name: string;
  /** 0: values never expire by default. */
  readonly ttlSeconds: number;
  /**
   * The most that its values use of each member's volumes: bytes, or a fraction of all volumes, 0 to 1. Undefined: as all other
   * objects.
   */
  readonly share: { readonly bytes: number } | { readonly fraction: number } | undefined;
  /** Its values are not evicted. Requires `share`. */
  readonly isPinned: boolean;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$/;
/** Of parts of uploads. */
const RESERVED = "frontcache-multipart";
const HOW = "name, name:1h, name:share=20% or name:1h:share=50GiB:pin";
const ttl = duration(1_000);
const bytes = size(1);

/** Buckets of values, separated by commas: `name`, then in any order a time to live, `share=` with percent or size, `pin`. */
export const cacheBuckets: Parser<readonly CacheBucket[]> = {
  unit: "name[:duration][:share=percent|size][:pin],...",
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
  const [name = "", ...options] = text.split(":");
  if (!NAME.test(name) || name === RESERVED) throw wrong(text, "a bucket", HOW);
  let [ttlSeconds, share, isPinned]: [number | undefined, CacheBucket["share"], boolean] = [undefined, undefined, false];
  for (const option of options) {
    if (option === "pin" && !isPinned) isPinned = true;
    else if (option.startsWith(SHARE) && share === undefined) share = parseShare(option.slice(SHARE.length));
    else if (ttlSeconds === undefined && option !== "pin" && !option.startsWith(SHARE)) {
      ttlSeconds = Math.floor(ttl.parse(option) / 1_000);
    } else throw wrong(text, "a bucket", `${HOW}, each option once`);
  }
  if (isPinned && share === undefined) {
    throw new Error(`${JSON.stringify(text)}: pin requires a share, which bounds what is not evicted: ${text}:share=20%`);
  }
  return { name, ttlSeconds: ttlSeconds ?? 0, share, isPinned };
}

const SHARE = "share=";

function parseShare(text: string): CacheBucket["share"] {
  if (!text.endsWith("%")) return { bytes: bytes.parse(text) };
  const fraction = percent.parse(text);
  if (fraction === 0) throw wrong(text, "a share", "a percentage above 0, as in 20%, or a size, as in 50GiB");
  return { fraction };
}
