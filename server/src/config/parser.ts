/** Converts the text of a setting to its value. */
export interface Parser<T> {
  /** The kind of value, for help and documentation: `size`, `duration`, `true|false`. */
  readonly unit: string;
  /** Throws an Error whose message is `<text> is not ...: use ...`. */
  parse(text: string): T;
}

/** The error for an invalid text: what it is not, and what to use instead. */
export function wrong(text: string, what: string, use: string): Error {
  return new Error(`${JSON.stringify(text)} is not ${what}: use ${use}`);
}

export const bool: Parser<boolean> = {
  unit: "true|false",
  parse(text) {
    if (text !== "true" && text !== "false") throw wrong(text, "a boolean", "true or false");
    return text === "true";
  },
};

/** One word of a closed list. */
export function choice<const T extends string>(...words: T[]): Parser<T> {
  return {
    unit: words.join("|"),
    parse(text) {
      const word = words.find((each) => each === text);
      if (word === undefined) throw wrong(text, "a known value", words.join(", "));
      return word;
    },
  };
}

/** Any text on one line. `unit` names its kind. */
export function line(unit: string): Parser<string> {
  return {
    unit,
    parse(text) {
      if (!/^\S(.*\S)?$/.test(text)) throw wrong(text, `a ${unit}`, "one line without leading or trailing blanks");
      return text;
    },
  };
}
