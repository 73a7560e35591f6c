/** A run of a block's segments that one origin request fetches. */
export interface PartPlan {
  /** Index of the first segment. */
  readonly first: number;
  /** How many segments. */
  readonly count: number;
}

export interface PartPlanOptions {
  /** Segments that a part should have at least, where that many are contiguous. */
  readonly targetSegments: number;
  /** Segments that a part may have at most: what the fill memory can hold of it. */
  readonly maxSegments: number;
}

/**
 * Joins missing segments (ascending) into parts. A contiguous run of n segments becomes floor(n / target) parts of almost
 * equal size, so none is below the target unless the run is: 16 segments with a target of 4 give 4 + 4 + 4 + 4, 7 give 7.
 */
export function planParts(missing: readonly number[], options: PartPlanOptions): PartPlan[] {
  return runsOf(missing).flatMap((run) => cutRun(run, options));
}

function runsOf(segments: readonly number[]): PartPlan[] {
  const runs: { first: number; count: number }[] = [];
  for (const segment of segments) {
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === segment) last.count++;
    else runs.push({ first: segment, count: 1 });
  }
  return runs;
}

function cutRun({ first, count }: PartPlan, { targetSegments, maxSegments }: PartPlanOptions): PartPlan[] {
  const parts = Math.max(1, Math.floor(count / targetSegments), Math.ceil(count / maxSegments));
  const cuts = Array.from({ length: parts + 1 }, (_, i) => first + Math.floor((i * count) / parts));
  return Array.from({ length: parts }, (_, i) => ({ first: cuts[i]!, count: cuts[i + 1]! - cuts[i]! }));
}
