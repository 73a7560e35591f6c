/** How a setting's text becomes its value. */
export interface Parser<T> {
  /** What to write, for help and documentation: `size`, `duration`, `true|false`. */
  readonly unit: string;
  /** Throws an Error whose message is `<what was written> is not ...: write ...`. */
  parse(text: string): T;
}

/** The error of a text that a parser refuses: what it is not, and what to write instead. */
export function wrong(text: string, what: string, write: string): Error {
  return new Error(`${JSON.stringify(text)} is not ${what}: write ${write}`);
}

export const bool: Parser<boolean> = {
  unit: "true|false",
  parse(text) {
    if (text !== "true" && text !== "false") throw wrong(text, "a yes or no", "true or false");
    return text === "true";
  },
};

/** One word of a closed list. */
export function choice<const T extends string>(...words: T[]): Parser<T> {
  return {
    unit: words.join("|"),
    parse(text) {
      const word = words.find((each) => each === text);
      if (word === undefined) throw wrong(text, "known here", words.join(", "));
      return word;
    },
  };
}

/** Any text on one line. `unit` says what it is. */
export function line(unit: string): Parser<string> {
  return {
    unit,
    parse(text) {
      if (!/^\S(.*\S)?$/.test(text)) throw wrong(text, `a ${unit}`, "one line without blanks around it");
      return text;
    },
  };
}
