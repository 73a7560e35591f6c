/** Detects a hang. It is long enough for slow work on a busy machine. */
const LIMIT_MS = 90_000;
const PAUSE_MS = 5;

/**
 * Repeats a check until it neither throws nor rejects, and resolves with its result. After `limitMs`, rejects with the last error
 * of the check.
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

/** Waits until a condition is true; checks it once per iteration of the event loop. Rejects after `limitMs`. */
export async function until(condition: () => boolean, limitMs = LIMIT_MS): Promise<void> {
  for (const endMs = performance.now() + limitMs; !condition(); ) {
    if (performance.now() > endMs) throw new Error(`the condition is still false after ${limitMs} ms: ${condition}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const SETTLED_AFTER = 10;

/** Waits until a value is above zero and unchanged in ten consecutive checks; resolves with it. Rejects after 90 seconds. */
export async function settled(measure: () => number): Promise<number> {
  let last = 0;
  let unchanged = 0;
  return eventually(() => {
    const value = measure();
    unchanged = value > 0 && value === last ? unchanged + 1 : 0;
    last = value;
    if (unchanged < SETTLED_AFTER) throw new Error(`the value still changes: ${value}`);
    return value;
  });
}
