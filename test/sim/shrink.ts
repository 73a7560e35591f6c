/** How many runs a shrinking may take by default. */
export const MAX_SHRINK_RUNS = 400;

/**
 * Leaves out of a failing list what it does not need in order to fail: first everything of one kind, then halves, quarters, and
 * so on down to single items, until nothing more can go or `maxRuns` tries have been made. The result fails.
 */
export async function shrink<Item extends { readonly kind: string }>(
  failing: readonly Item[],
  fails: (items: readonly Item[]) => Promise<boolean>,
  maxRuns: number,
): Promise<readonly Item[]> {
  let kept = failing;
  let runs = 0;
  const tryWithout = async (rest: readonly Item[]): Promise<boolean> => {
    if (rest.length === kept.length || runs++ >= maxRuns || !(await fails(rest))) return false;
    kept = rest;
    return true;
  };
  for (const kind of new Set(failing.map((item) => item.kind))) await tryWithout(kept.filter((item) => item.kind !== kind));
  for (let size = Math.ceil(kept.length / 2); size >= 1 && runs < maxRuns; ) {
    let went = false;
    // From the end, since what comes late is needed least.
    for (let end = kept.length; end > 0; end -= size) {
      const rest = [...kept.slice(0, Math.max(0, end - size)), ...kept.slice(end)];
      if (await tryWithout(rest)) went = true;
    }
    if (size > 1) size = Math.ceil(size / 2);
    else if (!went) break;
  }
  return kept;
}
