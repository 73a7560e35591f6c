/** A parser of untrusted input. */
export interface FuzzTarget {
  /** The name of the input, also of its corpus. */
  readonly name: string;
  /** Fragments for generated inputs, in addition to the corpus. */
  readonly tokens: readonly string[];
  /**
   * Parses one input and throws if the result violates the documentation. Characters represent bytes (Latin-1), unless the
   * target says otherwise.
   */
  check(input: string): void | Promise<void>;
}

/** Returns the result of a function, or its expected rejection. Unexpected errors are rethrown. */
export function resultOf<T>(read: () => T, isRefusal: (error: unknown) => boolean): { readonly value: T } | undefined {
  try {
    return { value: read() };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return undefined;
  }
}

/** Throws an error with the violated promise. */
export function promise(kept: boolean, what: string): asserts kept {
  if (!kept) throw new Error(`broken: ${what}`);
}

/** Returns whether a text is one printable line. */
export function isOneLine(text: string): boolean {
  return text.length > 0 && !/[\r\n]/.test(text);
}
