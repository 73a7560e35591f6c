import { CacheError } from "@frontcache/proto";
import { PROMETHEUS_TEXT } from "../../metrics/prometheus.js";
import type { Clock } from "../../runtime/clock.js";
import type { ValueStats, Values } from "../../values/values.js";
import type { ClusterReport } from "../admin/member-report.js";
import type { HttpContext } from "../http/http-context.js";
import type { Serving } from "../http/site.js";
import type { Document } from "../s3/document-answer.js";
import type { ErrorResponse } from "../s3/error-response.js";
import { answerRunning, invalidRequest, jsonDocument } from "../values/value-site.js";
import { ElCacheMetrics } from "./elcache-metrics.js";

export interface ElCachePagesOptions {
  readonly clock: Clock;
  /** Returns the status of the cluster; undefined: the member has no others. */
  readonly cluster: (() => Promise<ClusterReport>) | undefined;
}

/** The administrative pages of ElCache: `/health`, `/stats`, `/cluster`, `/cluster/nodes` and `/metrics`. */
export class ElCachePages {
  readonly metrics: ElCacheMetrics;
  readonly #cluster: ElCachePagesOptions["cluster"];

  constructor({ clock, cluster }: ElCachePagesOptions) {
    this.metrics = new ElCacheMetrics(clock);
    this.#cluster = cluster;
  }

  /** Answers the health check, which needs no credentials. A member that is starting or shuts down is not healthy. */
  answerHealth({ request, response }: HttpContext, path: string, { notReadyReasons }: Serving<Values>): boolean {
    if (path !== "/health" || request.method !== "GET") return false;
    const isHealthy = notReadyReasons.length === 0;
    const { status, headers, body } = isHealthy
      ? jsonDocument({ status: "healthy" })
      : jsonDocument({ status: "unhealthy", reasons: notReadyReasons }, 503);
    response.writeHead(status ?? 200, [...headers, "Content-Length", String(body.length)]);
    response.end(body);
    return true;
  }

  /** Answers a page, or returns the error to answer with. Throws a CacheError if the principal may not see it. */
  answer(context: HttpContext, path: string, values: Values, { authorization }: Serving<Values>): ErrorResponse | undefined {
    const make = this.#pageAt(path, context, values);
    if (make === undefined) return invalidRequest(404, "Endpoint not found");
    const { method } = context.request;
    if (method !== "GET" && method !== "HEAD") {
      return invalidRequest(405, `${method} is not allowed here: use GET`, ["Allow", "GET, HEAD"]);
    }
    authorization.checkCluster(context.principal, "status");
    answerRunning(context, { operation: `GET ${path}`, url: path }, make);
    return undefined;
  }

  #pageAt(path: string, context: HttpContext, values: Values): (() => Promise<Document>) | undefined {
    switch (path) {
      case "/stats":
        return async () => jsonDocument(statsOf(values.stats()));
      case "/cluster":
      case "/cluster/nodes":
        return async () => jsonDocument(clusterOf(await this.#cluster?.()));
      case "/metrics":
        return () => this.#metricsFor(context, values);
      default:
        return undefined;
    }
  }

  async #metricsFor({ request }: HttpContext, values: Values): Promise<Document> {
    const report = await this.#cluster?.();
    const active = report === undefined ? 1 : activeIn(report).length;
    const stats = values.stats();
    if (request.headers.accept?.includes("application/json") === true) return jsonDocument(this.metrics.json(stats, active));
    return { headers: ["Content-Type", PROMETHEUS_TEXT], body: Buffer.from(this.metrics.text(stats, active)) };
  }
}

function statsOf(stats: ValueStats): Record<string, number> {
  const { hits, misses } = stats;
  return {
    hits,
    misses,
    partial_hits: 0,
    bytes_read: stats.bytesRead,
    bytes_written: stats.bytesWritten,
    evictions: stats.evictions,
    entry_count: stats.entries,
    size_bytes: stats.sizeBytes,
    capacity_bytes: stats.capacityBytes,
    hit_rate_percent: hits + misses === 0 ? 0 : Math.round((hits / (hits + misses)) * 10_000) / 100,
  };
}

function activeIn({ members }: ClusterReport): ClusterReport["members"] {
  return members.filter(({ state }) => state === "ready");
}

/** Values are on disks only, so there is no capacity in memory. */
function clusterOf(report: ClusterReport | undefined): Record<string, unknown> {
  if (report === undefined) return { mode: "standalone" };
  if (report.members.length === 0) throw new CacheError("UNAVAILABLE", "the member list is not known yet: try again");
  const volumes = report.members.flatMap(({ report: own }) => own?.volumes ?? []);
  return {
    mode: "cluster",
    total_nodes: report.members.length,
    active_nodes: activeIn(report).length,
    total_memory_capacity: 0,
    total_disk_capacity: volumes.reduce((sum, { limitBytes }) => sum + limitBytes, 0),
    total_memory_used: 0,
    total_disk_used: volumes.reduce((sum, { usedBytes }) => sum + usedBytes, 0),
  };
}
