import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type MetricDeclaration, metricList, prometheusLabel, prometheusName } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { cannotRender, deployFolder, Rendered } from "./render.js";

/** Labels that Prometheus adds to every series from the resource. */
const EVERYWHERE = ["job", "instance"];

interface Known {
  /** Values by label; undefined: any value. */
  readonly labels: ReadonlyMap<string, readonly string[] | undefined>;
}

/** Every name in Prometheus that a query may use. */
const known = new Map<string, Known>(
  Object.values(metricList as Record<string, MetricDeclaration>).flatMap((metric) => {
    const labels = new Map<string, readonly string[] | undefined>(EVERYWHERE.map((label) => [label, undefined]));
    for (const [label, values] of Object.entries(metric.labels)) {
      labels.set(prometheusLabel(label), values === "configured" ? undefined : values);
    }
    const name = prometheusName(metric);
    if (metric.kind !== "histogram") return [[name, { labels }] as const];
    const buckets = new Map([...labels, ["le", undefined] as const]);
    return [
      [`${name}_bucket`, { labels: buckets }] as const,
      [`${name}_count`, { labels }] as const,
      [`${name}_sum`, { labels }] as const,
    ];
  }),
);
// Metrics of kube-state-metrics, which is part of the overlay.
known.set("kube_statefulset_replicas", { labels: new Map([["statefulset", ["frontcache"]]]) });

/** Returns the errors in a query's names, labels and values. */
function faultsOf(query: string): string[] {
  const faults: string[] = [];
  const used: Known[] = [];
  for (const [, name, selector = ""] of query.matchAll(/\b((?:frontcache|nodejs|process|kube)_[a-z0-9_]+)\b(?:\{([^}]*)\})?/g)) {
    const metric = known.get(name!);
    if (metric === undefined) {
      faults.push(`no metric is called ${name}`);
      continue;
    }
    used.push(metric);
    for (const [, label, text] of selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"/g)) {
      if (!metric.labels.has(label!)) faults.push(`${name} has no label ${label}`);
      const values = metric.labels.get(label!);
      for (const value of values === undefined || text!.startsWith("$") ? [] : text!.split("|")) {
        if (!values!.includes(value)) faults.push(`${label} of ${name} is never ${value}`);
      }
    }
  }
  if (used.length === 0) faults.push("it uses no metric");
  for (const [, labels] of query.matchAll(/\b(?:by|on|ignoring|without)\s*\(([^)]*)\)/g)) {
    for (const label of labels!.split(",").map((each) => each.trim())) {
      if (label !== "" && !used.some((metric) => metric.labels.has(label))) faults.push(`no metric of it has a label ${label}`);
    }
  }
  return faults;
}

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly type: string;
    readonly targets?: readonly { expr: string; legendFormat: string }[];
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  }[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
}

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: { readonly summary: string; readonly action: string };
}

const read = (file: string): string => readFileSync(join(deployFolder, "dashboards", file), "utf8");
const dashboard = JSON.parse(read("frontcache.json")) as Dashboard;
const { rules } = (parse(read("alerts.yaml")) as { groups: [{ rules: Rule[] }] }).groups[0];
const queries = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const));

describe("the dashboard", () => {
  it.each(queries)("queries only metrics that members export: %s, %s", (_, expr) => {
    expect(faultsOf(expr)).toEqual([]);
  });

  it("shows every metric that members export", () => {
    const text = queries.map(([, expr]) => expr).join("\n");
    const names = Object.values(metricList as Record<string, MetricDeclaration>).map(prometheusName);
    expect(names.filter((name) => !text.includes(name))).toEqual([]);
  });

  it("uses only existing labels in its legends, and only known metrics in its variables", () => {
    for (const { targets = [] } of dashboard.panels) {
      for (const { expr, legendFormat } of targets) {
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
          const grouped = /\bby\s*\(/.test(expr);
          if (grouped) expect(expr).toMatch(new RegExp(`by \\([^)]*\\b${label}\\b`));
          else expect(faultsOf(`sum by (${label}) (${expr})`)).toEqual([]);
        }
      }
    }
    const definitions = dashboard.templating.list.flatMap(({ definition }) => definition ?? []);
    for (const definition of definitions) expect(faultsOf(definition)).toEqual([]);
  });

  it("has no overlapping panels", () => {
    const taken = new Set<string>();
    for (const {
      gridPos: { x, y, w, h },
    } of dashboard.panels) {
      expect(x + w).toBeLessThanOrEqual(24);
      for (let column = x; column < x + w; column++) {
        for (let line = y; line < y + h; line++) {
          expect(taken.has(`${column},${line}`)).toBe(false);
          taken.add(`${column},${line}`);
        }
      }
    }
  });
});

describe("the alerting rules", () => {
  it.each(rules.map(({ alert, expr }) => [alert, expr]))("%s uses only metrics that members export", (_, expr) => {
    expect(faultsOf(expr!)).toEqual([]);
  });

  it("cover the failures that need an operator, and have a summary", () => {
    const required = [
      "HitRatioFalling",
      "OriginErrors",
      "VolumeOverWatermark",
      "VolumeFull",
      "CertificateExpires",
      "RingSmallerThanStatefulSet",
      "EventLoopDelay",
    ];
    expect(rules.map(({ alert }) => alert)).toEqual(expect.arrayContaining(required.map((name) => `Frontcache${name}`)));
    for (const { annotations } of rules) expect(Object.keys(annotations)).toEqual(["summary", "action"]);
  });
});

describe("the check of queries", () => {
  it("detects wrong names, labels and values", () => {
    expect(faultsOf("rate(frontcache_reads[5m])")).toEqual(["no metric is called frontcache_reads", "it uses no metric"]);
    expect(faultsOf('frontcache_reads_total{url="x"}')).toEqual(["frontcache_reads_total has no label url"]);
    expect(faultsOf('frontcache_reads_total{result=~"hit|miss"}')).toEqual(["result of frontcache_reads_total is never miss"]);
    expect(faultsOf("sum by (outcome) (frontcache_reads_total)")).toEqual(["no metric of it has a label outcome"]);
  });
});

describe.skipIf(cannotRender !== undefined)("the overlay with collector, Prometheus and Grafana", () => {
  it("connects members, collector, Prometheus and Grafana through addresses that exist", () => {
    const rendered = new Rendered("overlays/observability");
    const portOf = (service: string, port: number): string => {
      const found = rendered.one("Service", service).spec.ports.find((each) => each.port === port);
      const { containers } = rendered.one("Deployment", service).spec.template.spec;
      expect(containers[0]!.ports!.find(({ name }) => name === found?.targetPort)?.containerPort).toBe(port);
      return `${service}:${port}`;
    };
    const data = (prefix: string): Record<string, string> =>
      rendered.all("ConfigMap").find(({ metadata }) => new RegExp(`^${prefix}-[a-z0-9]+$`).test(metadata.name))!.data!;
    const collector = parse(data("otel-collector")["config.yaml"]!) as {
      receivers: { otlp: { protocols: { grpc: { endpoint: string } } } };
      exporters: { prometheus: { endpoint: string } };
    };
    const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = rendered.environment({});
    expect(endpoint).toBe(`http://${portOf("otel-collector", 4317)}`);
    expect(collector.receivers.otlp.protocols.grpc.endpoint).toBe("0.0.0.0:4317");
    expect(collector.exporters.prometheus.endpoint).toBe("0.0.0.0:8889");
    const prometheus = parse(data("prometheus")["prometheus.yml"]!) as {
      scrape_configs: { static_configs: [{ targets: string[] }] }[];
    };
    const targets = prometheus.scrape_configs.flatMap(({ static_configs: [{ targets: all }] }) => all);
    expect(targets).toEqual([portOf("otel-collector", 8889), portOf("kube-state-metrics", 8080)]);
    expect(data("grafana-provisioning")["datasource.yaml"]).toContain(`url: http://${portOf("prometheus", 9090)}\n`);
    expect(data("frontcache-dashboard")["frontcache.json"]).toBe(read("frontcache.json"));
    expect(data("frontcache-alerts")["alerts.yaml"]).toBe(read("alerts.yaml"));
  });

  it("mounts only volumes that exist, from ConfigMaps that exist", () => {
    const rendered = new Rendered("overlays/observability");
    const maps = rendered.all("ConfigMap").map(({ metadata }) => metadata.name);
    for (const { spec } of rendered.all("Deployment")) {
      const volumes = (spec.template.spec.volumes ?? []) as readonly { name: string; configMap?: { name: string } }[];
      const mounted = (spec.template.spec.containers[0]!.volumeMounts ?? []).map(({ name }) => name);
      expect(volumes.map(({ name }) => name).toSorted()).toEqual(mounted.toSorted());
      for (const { configMap } of volumes) if (configMap !== undefined) expect(maps).toContain(configMap.name);
    }
  });
});
