import { type Configured, Family } from "./family.js";
import { type MetricName, metricList } from "./metric-list.js";

/** All families of a member, by the keys of the metric list. */
export type Families = { readonly [Name in MetricName]: Family<(typeof metricList)[Name]> };

/**
 * The metrics of one member. Events are counted in place by the code that observes them. States (volumes, fills, connections) are
 * read right before each export.
 */
export class Metrics {
  /** Wall time of the start of counting, milliseconds since 1970. */
  readonly startedAtMs: number;

  readonly families: Families;
  readonly #looks: (() => void)[] = [];

  /** `configured`: the values of the labels that depend on the settings, by label. */
  constructor(configured: Configured, startedAtMs: number) {
    this.startedAtMs = startedAtMs;
    const entries = Object.entries(metricList).map(([name, declaration]) => [name, new Family(declaration, configured)]);
    this.families = Object.fromEntries(entries) as Families;
  }

  /** Calls `look` before each export. It updates its series and must be fast. */
  beforeReading(look: () => void): void {
    this.#looks.push(look);
  }

  /** Returns all families, updated. */
  read(): Families {
    for (const look of this.#looks) look();
    return this.families;
  }
}
