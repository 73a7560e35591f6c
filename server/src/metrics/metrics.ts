import { Family } from "./family.js";
import { type MetricName, metricList } from "./metric-list.js";

/** All families of a member, by their names in the list. */
export type Families = { readonly [Name in MetricName]: Family<(typeof metricList)[Name]> };

/**
 * The counters of one member. What happens is added in place by whoever knows of it; what is (volumes, fills, connections) is
 * looked up right before a reading.
 */
export class Metrics {
  readonly families: Families;
  readonly #looks: (() => void)[] = [];

  constructor(
    /** The volumes' paths, each a label value. */
    volumes: readonly string[],
    /** Wall time that the counters count from, milliseconds since 1970. */
    readonly startedAtMs: number,
  ) {
    const entries = Object.entries(metricList).map(([name, declaration]) => [
      name,
      new Family(declaration, [...new Set(volumes)]),
    ]);
    this.families = Object.fromEntries(entries) as Families;
  }

  /** `look` brings its series up to date; it is called before each reading and must be quick. */
  beforeReading(look: () => void): void {
    this.#looks.push(look);
  }

  /** Every family, up to date. */
  read(): Families {
    for (const look of this.#looks) look();
    return this.families;
  }
}
