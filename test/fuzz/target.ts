/** One thing that reads what strangers send. */
export interface FuzzTarget {
  /** What is read; the corpus has this name, too. */
  readonly name: string;
  /** Pieces that inputs are put together from, beside what the corpus has. */
  readonly tokens: readonly string[];
  /**
   * Reads one input and throws where a promise is broken. The input's characters stand for bytes (Latin-1), unless the
   * target says otherwise.
   */
  check(input: string): void | Promise<void>;
}

/** What a function that may refuse its input came to; any other error than an expected one goes on. */
export function resultOf<T>(read: () => T, isRefusal: (error: unknown) => boolean): { readonly value: T } | undefined {
  try {
    return { value: read() };
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return undefined;
  }
}

/** Fails with what was promised. */
export function promise(kept: boolean, what: string): asserts kept {
  if (!kept) throw new Error(`broken: ${what}`);
}

/** Whether a text is one line that can be shown. */
export function isOneLine(text: string): boolean {
  return text.length > 0 && !/[\r\n]/.test(text);
}
