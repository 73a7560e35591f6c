/** The tiers of the tests, fastest first. A test file's name determines its tier. */
export type Tier = "unit" | "listeners" | "processes";

export interface TierRule {
  /** The resources that tests of this tier may use. */
  readonly may: string;
  /** The suffix of its file names. */
  readonly ending: string;
}

export const tiers: Readonly<Record<Tier, TierRule>> = {
  unit: { may: "neither listen nor start a process", ending: ".test.ts" },
  listeners: { may: "listen on loopback addresses in the test's own process", ending: ".listeners.test.ts" },
  processes: { may: "start processes", ending: ".processes.test.ts" },
};

/** Returns the tier of a file by the longest matching suffix; undefined if the file is not a test. */
export function tierOf(file: string): Tier | undefined {
  if (file.endsWith(tiers.processes.ending)) return "processes";
  if (file.endsWith(tiers.listeners.ending)) return "listeners";
  return file.endsWith(tiers.unit.ending) ? "unit" : undefined;
}
