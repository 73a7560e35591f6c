import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * Test files that take longest, most of it waiting. Vitest begins with the largest files, which these are not; begun last, they would keep
 * one worker busy while the others have ended.
 */
export const longest = [
  "test/e2e/cluster-changes.processes.test.ts",
  "test/e2e/commands.processes.test.ts",
  "test/e2e/cluster-real.processes.test.ts",
  "test/status/status-page.processes.test.ts",
  "test/fault/frozen-member.processes.test.ts",
  "test/fault/silent-origin.listeners.test.ts",
  "test/e2e/cluster.processes.test.ts",
  "test/fault/fallback.processes.test.ts",
  "test/e2e/crash.processes.test.ts",
  "test/fault/damage.listeners.test.ts",
];

/** Begins each tier with the test files that take longest. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = longest.findIndex((path) => moduleId.endsWith(path));
      return at === -1 ? longest.length : at;
    };
    return sorted.toSorted((one, other) => rank(one) - rank(other));
  }
}
