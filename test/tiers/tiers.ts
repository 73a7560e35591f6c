/** The tiers of the tests, fastest first. A test file's name says which one it belongs to. */
export type Tier = "unit" | "listeners" | "processes";

export interface TierRule {
  /** What the tests of this tier may use. */
  readonly may: string;
  /** How its files' names end. */
  readonly ending: string;
}

export const tiers: Readonly<Record<Tier, TierRule>> = {
  unit: { may: "neither listen nor start a process", ending: ".test.ts" },
  listeners: { may: "listen on loopback addresses in the test's own process", ending: ".listeners.test.ts" },
  processes: { may: "start processes", ending: ".processes.test.ts" },
};

/** The tier of a test file, by the longest ending that its name has; undefined for a file that is no test. */
export function tierOf(file: string): Tier | undefined {
  if (file.endsWith(tiers.processes.ending)) return "processes";
  if (file.endsWith(tiers.listeners.ending)) return "listeners";
  return file.endsWith(tiers.unit.ending) ? "unit" : undefined;
}
