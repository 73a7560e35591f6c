const LIMIT_MS = 10_000;
const PAUSE_MS = 5;

/**
 * Waits until a check passes, for tests of what happens soon but not at once: repeats the check until it neither throws nor
 * rejects, and resolves to its result. After 10 seconds (or `limitMs`) the check's last error is thrown.
 */
export async function eventually<Result>(check: () => Result | Promise<Result>, limitMs = LIMIT_MS): Promise<Result> {
  for (const endMs = performance.now() + limitMs; ; ) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > endMs) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

const SETTLED_AFTER = 10;

/** Waits until a figure is above zero and stays as it is for ten looks in a row; resolves to it. Rejects after 10 seconds. */
export async function settled(figure: () => number): Promise<number> {
  let last = 0;
  let looks = 0;
  return eventually(() => {
    const now = figure();
    looks = now > 0 && now === last ? looks + 1 : 0;
    last = now;
    if (looks < SETTLED_AFTER) throw new Error(`the figure still changes: ${now}`);
    return now;
  });
}
