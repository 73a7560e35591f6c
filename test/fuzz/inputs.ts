import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import type { FuzzTarget } from "./target.js";

/** The corpus of a target: valid inputs to mutate, and every input that ever failed. */
export function corpusOf({ name }: FuzzTarget): readonly string[] {
  return JSON.parse(readFileSync(join(import.meta.dirname, "corpus", `${name}.json`), "utf8"));
}

/** One change of a text. Positions are shares of its length, so that shrinking preserves them. */
type Edit = (text: string) => string;

function edits(pieces: readonly string[]): fc.Arbitrary<Edit> {
  const place = fc.nat(9_999);
  const at = (text: string, share: number): number => Math.floor((text.length * share) / 9_999);
  const piece = fc.oneof(
    fc.constantFrom(...pieces),
    fc.string({ unit: "binary-ascii", maxLength: 8 }),
    fc.nat(255).map((byte) => String.fromCharCode(byte)),
    fc.maxSafeNat().map(String),
  );
  return fc.oneof(
    fc.tuple(place, piece).map(
      ([share, text]): Edit =>
        (of) =>
          of.slice(0, at(of, share)) + text + of.slice(at(of, share)),
    ),
    fc.tuple(place, fc.nat(12)).map(
      ([share, count]): Edit =>
        (of) =>
          of.slice(0, at(of, share)) + of.slice(at(of, share) + count),
    ),
    fc.tuple(place, fc.nat(40), fc.integer({ min: 2, max: 30 })).map(
      ([share, count, times]): Edit =>
        (of) => {
          const [begin, end] = [at(of, share), at(of, share) + count];
          return of.slice(0, begin) + of.slice(begin, end).repeat(times) + of.slice(end);
        },
    ),
    fc.tuple(place, fc.nat(255)).map(
      ([share, byte]): Edit =>
        (of) => {
          const index = Math.min(at(of, share), Math.max(0, of.length - 1));
          return of.slice(0, index) + String.fromCharCode(byte) + of.slice(index + 1);
        },
    ),
    fc.tuple(place, piece).map(
      ([share, text]): Edit =>
        (of) =>
          of.slice(0, at(of, share)) + text,
    ),
  );
}

/** Mostly valid inputs with a few changes, which get deeper into a parser than noise; and some noise. */
export function inputsFor(target: FuzzTarget): fc.Arbitrary<string> {
  const corpus = corpusOf(target);
  const changed = fc
    .tuple(fc.constantFrom(...corpus), fc.array(edits([...target.tokens, ...corpus]), { maxLength: 5 }))
    .map(([begin, changes]) => changes.reduce((text, change) => change(text), begin));
  return fc.oneof(
    { weight: 9, arbitrary: changed },
    { weight: 1, arbitrary: fc.string({ unit: "binary-ascii", maxLength: 200 }) },
  );
}
