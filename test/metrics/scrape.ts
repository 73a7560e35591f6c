import parse from "parse-prometheus-text-format";

/** One series. A histogram has several: `_count`, `_sum` and a `_bucket` per boundary. */
export interface ScrapedSeries {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The result of a scrape. */
export interface Scraped {
  /** Types by metric name. */
  readonly types: ReadonlyMap<string, string>;
  readonly series: readonly ScrapedSeries[];
}

/**
 * Scrapes a member; `http` is the host:port of its HTTP listener. The parser merges all series of a histogram and fails if
 * they have no labels, so histograms are parsed as their plain series.
 */
export async function scrape(http: string): Promise<Scraped> {
  const answer = await fetch(`http://${http}/metrics`);
  const contentType = answer.headers.get("content-type");
  if (answer.status !== 200 || !contentType?.startsWith("text/plain; version=0.0.4")) {
    throw new Error(`${answer.status}, ${contentType}`);
  }
  const text = await answer.text();
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => [match[1]!, match[2]!]));
  const series = parse(text.replaceAll(/^(# TYPE \S+) histogram$/gm, "$1 untyped")).flatMap(({ name, metrics }) =>
    metrics.map(({ labels, value }) => ({ name, labels: labels ?? {}, value: Number(value) })),
  );
  return { types, series };
}

/** Returns the sum of all series with this name and these labels. */
export function sumOf({ series }: Scraped, name: string, labels: Readonly<Record<string, string>> = {}): number {
  return series
    .filter((each) => each.name === name && Object.entries(labels).every(([label, value]) => each.labels[label] === value))
    .reduce((sum, { value }) => sum + value, 0);
}
