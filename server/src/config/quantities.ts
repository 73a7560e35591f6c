import { type Parser, wrong } from "./parser.js";

const BYTES_OF_UNIT: Record<string, number> = {
  "": 1,
  b: 1,
  ki: 2 ** 10,
  kib: 2 ** 10,
  kb: 1e3,
  mi: 2 ** 20,
  mib: 2 ** 20,
  mb: 1e6,
  gi: 2 ** 30,
  gib: 2 ** 30,
  gb: 1e9,
  ti: 2 ** 40,
  tib: 2 ** 40,
  tb: 1e12,
};

const MS_OF_UNIT: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

function parseSize(text: string): number {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text) ?? [];
  const factor = number === "" ? undefined : BYTES_OF_UNIT[unit.toLowerCase()];
  const bytes = factor === undefined ? Number.NaN : Number(number) * factor;
  if (!Number.isSafeInteger(bytes))
    throw wrong(text, "a size", "a number of bytes, or a number with KiB, MiB, GiB or TiB, as in 16MiB");
  return bytes;
}

/** Whole bytes of at least `minBytes`: `16MiB`, `200GiB`, `1048576`. */
export function size(minBytes: number): Parser<number> {
  return {
    unit: "size",
    parse(text) {
      const bytes = parseSize(text);
      if (bytes < minBytes) throw new Error(`${JSON.stringify(text)} is too small: use at least ${formatSize(minBytes)}`);
      return bytes;
    },
  };
}

/** Formats bytes in the largest unit that divides them. */
export function formatSize(bytes: number): string {
  const units = ["TiB", "GiB", "MiB", "KiB"];
  const at = units.findIndex((_, index) => bytes > 0 && bytes % 2 ** (40 - 10 * index) === 0);
  return at < 0 ? `${bytes} bytes` : `${bytes / 2 ** (40 - 10 * at)}${units[at]}`;
}

/**
 * Milliseconds of at least `minMs`: `60s`, `500ms`, `1h`. Only `0` needs no unit. With the option `never`, the word `never`
 * is Infinity.
 */
export function duration(minMs: number, options: { never: boolean } = { never: false }): Parser<number> {
  return {
    unit: options.never ? "duration or never" : "duration",
    parse(text) {
      if (options.never && text === "never") return Number.POSITIVE_INFINITY;
      const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text === "0" ? "0ms" : text) ?? [];
      const ms = number === "" ? Number.NaN : Math.round(Number(number) * MS_OF_UNIT[unit]!);
      const or = options.never ? ", or never" : "";
      if (!Number.isSafeInteger(ms)) throw wrong(text, "a duration", `a number with ms, s, m or h, as in 60s${or}`);
      if (ms < minMs) throw new Error(`${JSON.stringify(text)} is too short: use at least ${minMs}ms`);
      return ms;
    },
  };
}

/** A share from 0 to 1, written in percent: `95` or `95%`. */
export const percent: Parser<number> = {
  unit: "percent",
  parse(text) {
    const number = /^(\d+(?:\.\d+)?)%?$/.exec(text)?.[1];
    if (number === undefined || Number(number) > 100) throw wrong(text, "a percentage", "a number from 0 to 100");
    return Number(number) / 100;
  },
};

/** A whole number from `min` to `max`. */
export function whole(min: number, max: number): Parser<number> {
  return {
    unit: "number",
    parse(text) {
      const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
      if (!(number >= min && number <= max)) throw wrong(text, "a whole number in the range", `a number from ${min} to ${max}`);
      return number;
    },
  };
}
