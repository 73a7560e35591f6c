/** A bound for what hangs, not for what is slow on a busy machine. */
const LIMIT_MS = 30_000;
const PAUSE_MS = 5;

/**
 * Waits until a check passes: repeats it until it neither throws nor rejects, and resolves to its result. When `limitMs` have
 * passed, rejects with the last error of the check.
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

/** Waits until a condition holds, and looks at each turn of the event loop. Rejects when `limitMs` have passed. */
export async function until(holds: () => boolean, limitMs = LIMIT_MS): Promise<void> {
  for (const endMs = performance.now() + limitMs; !holds(); ) {
    if (performance.now() > endMs) throw new Error(`after ${limitMs} ms this does not hold: ${holds}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const SETTLED_AFTER = 10;

/** Waits until a figure is above zero and the same in ten looks in a row; resolves to it. Rejects after 30 seconds. */
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
