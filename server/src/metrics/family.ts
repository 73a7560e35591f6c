import type { HistogramDeclaration, Labels, LabelValues, MetricDeclaration, NumberDeclaration } from "./declaration.js";
import { HistogramSeries, NumberSeries } from "./series.js";

/** One value for each label. */
export type LabelsOf<L extends Labels> = {
  readonly [Name in keyof L]: L[Name] extends readonly (infer Value)[] ? Value : string;
};

type SeriesOf<D> = D extends HistogramDeclaration ? HistogramSeries : D extends NumberDeclaration ? NumberSeries : never;

/** The values of the labels that are declared as configured, by label. */
export type Configured = Readonly<Record<string, readonly string[]>>;

/** A declared metric with all its series, created once at the start. */
export class Family<D extends MetricDeclaration> {
  readonly declaration: D;

  readonly #byKey = new Map<string, SeriesOf<D>>();
  readonly #names: readonly string[];

  constructor(declaration: D, configured: Configured) {
    this.declaration = declaration;
    this.#names = Object.keys(declaration.labels);
    for (const labels of combinations(declaration.labels, configured)) {
      const series =
        declaration.kind === "histogram" ? new HistogramSeries(labels, declaration.boundaries) : new NumberSeries(labels);
      this.#byKey.set(this.#key(labels), series as SeriesOf<D>);
    }
  }

  get all(): SeriesOf<D>[] {
    return [...this.#byKey.values()];
  }

  /** The series of these label values. Look it up once for frequent use. Throws if a value is not declared. */
  at(...[labels]: keyof D["labels"] extends never ? [] : [LabelsOf<D["labels"]>]): SeriesOf<D> {
    const series = this.#byKey.get(this.#key((labels ?? {}) as Record<string, string>));
    if (series === undefined) throw new Error(`${this.declaration.name} has no series ${JSON.stringify(labels)}`);
    return series;
  }

  #key(labels: Readonly<Record<string, string>>): string {
    return this.#names.map((name) => labels[name]).join("\n");
  }
}

function combinations(labels: Labels, configured: Configured): Record<string, string>[] {
  return Object.entries(labels).reduce<Record<string, string>[]>(
    (rows, [name, values]) =>
      rows.flatMap((row) => valuesOf(name, values, configured).map((value) => ({ ...row, [name]: value }))),
    [{}],
  );
}

function valuesOf(name: string, values: LabelValues, configured: Configured): readonly string[] {
  return values === "configured" ? [...new Set(configured[name])] : values;
}
