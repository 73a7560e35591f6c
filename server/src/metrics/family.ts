import type { HistogramDeclaration, Labels, MetricDeclaration, NumberDeclaration } from "./declaration.js";
import { HistogramSeries, NumberSeries } from "./series.js";

/** One value for each label. */
export type LabelsOf<L extends Labels> = {
  readonly [Name in keyof L]: L[Name] extends readonly (infer Value)[] ? Value : string;
};

type SeriesOf<D> = D extends HistogramDeclaration ? HistogramSeries : D extends NumberDeclaration ? NumberSeries : never;

/** A declared metric with all its series, created once at the start. */
export class Family<D extends MetricDeclaration> {
  readonly declaration: D;

  readonly #byKey = new Map<string, SeriesOf<D>>();
  readonly #names: readonly string[];

  constructor(declaration: D, configured: readonly string[]) {
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

function combinations(labels: Labels, configured: readonly string[]): Record<string, string>[] {
  return Object.entries(labels).reduce<Record<string, string>[]>(
    (rows, [name, values]) =>
      rows.flatMap((row) => (values === "configured" ? configured : values).map((value) => ({ ...row, [name]: value }))),
    [{}],
  );
}
