import { SCHEMES } from "@frontcache/proto";
import type { Environment } from "./config/declarations.js";
import type { GcsRule, OriginRule, S3Rule } from "./config/origin-rule.js";
import { parseOrigins } from "./config/origins-file.js";
import type { Settings } from "./config/settings.js";
import { GcsOrigin } from "./origin/gcs/gcs-origin.js";
import { type Hedge, HedgedOrigin } from "./origin/hedging/hedged-origin.js";
import { LimitedOrigin } from "./origin/limits/limited-origin.js";
import { type LimitOptions, type LimitReached, OriginLimits } from "./origin/limits/origin-limits.js";
import { MeasuredOrigin, type OriginRequest } from "./origin/measured-origin.js";
import type { Origin } from "./origin/origin.js";
import { Origins } from "./origin/origins.js";
import type { Retry } from "./origin/retrying/retry-budget.js";
import { RetryingOrigin } from "./origin/retrying/retrying-origin.js";
import type { S3Options } from "./origin/s3/s3-client.js";
import { S3Origin } from "./origin/s3/s3-origin.js";
import { systemClock } from "./runtime/clock.js";

/** Connections to one origin. A fill has `--fill-parallelism` of them; the fill memory bounds how many fills run. */
const MAX_CONNECTIONS = 256;

/** Failures are repeated for 3 s on average, which outlasts a throttled moment and no reader's patience. */
const RETRIES = { attempts: 6, baseDelayMs: 100, maxDelayMs: 5_000, headTimeoutMs: 10_000, idleTimeoutMs: 5_000 };

/** Where held bytes can be served as stale, nobody waits for an origin that is down: one failure may be chance, two are not, and a slow one is not down. */
const HURRIED = { attempts: 2, headTimeoutMs: 3_000 };

/** Requests that wait for an origin's limits: what waits longer than `--origin-max-wait` is given up, so this is for floods. */
const MAX_WAITING = 10_000;

/** Below some milliseconds it is this process that is late and not the origin. */
const HEDGING = { share: 0.05, minDelayMs: 10 };

/** What holds without an origins file: AWS and Google, for all buckets. */
const EVERYWHERE = parseOrigins(
  JSON.stringify({ origins: SCHEMES.map((scheme) => ({ buckets: `${scheme}://*` })) }),
  "the default",
);

/** What origins are built from. */
export type OriginSettings = Pick<
  Settings,
  "origins" | "s3ForcePathStyle" | "originRequests" | "originBytes" | "originConcurrency" | "originMaxWaitMs" | "hedge"
>;

/** What happens at the origins, for logs and metrics. */
export interface OriginEvents {
  readonly onRetry: (retry: Retry) => void;
  readonly onHedge: (hedge: Hedge) => void;
  /** A request that reached a store is over. */
  readonly onRequest: (request: OriginRequest) => void;
  /** Our own limits turned a request away. */
  readonly onLimitReached: (reached: LimitReached) => void;
}

/**
 * All origins as one. Each stands, from the outside in: retries, which repeat what may pass; limits, so that repeated requests
 * count; hedging, so that a wait for leave is not taken for the origin's; measuring; the store. Nothing is connected before it is needed.
 */
export function openOrigins(settings: OriginSettings, environment: Environment, events: OriginEvents): Origin {
  const rules = settings.origins ?? EVERYWHERE;
  return new Origins(
    rules.flatMap((rule) => {
      const origin = openOrigin(rule, settings, environment, events);
      return rule.buckets.map((pattern) => ({ ...pattern, origin }));
    }),
  );
}

function openOrigin(rule: OriginRule, settings: OriginSettings, environment: Environment, events: OriginEvents): Origin {
  const options = limitsOf(rule, settings);
  const isLimited = [options.requestsPerSecond, options.bytesPerSecond, options.concurrency].some((limit) => limit !== undefined);
  const limits = isLimited ? new OriginLimits(options, systemClock, events.onLimitReached) : undefined;
  const store = rule.scheme === "s3" ? openS3(rule, settings, environment) : openGcs(rule);
  let origin: Origin = new MeasuredOrigin(store, events.onRequest, systemClock);
  if (rule.hedge ?? settings.hedge) {
    const admitExtra = () => (limits === undefined ? { release() {} } : limits.admitNow());
    origin = new HedgedOrigin(origin, { ...HEDGING, admitExtra, onHedge: events.onHedge }, systemClock);
  }
  if (limits !== undefined) origin = new LimitedOrigin(origin, limits);
  // Waiting for the limits is no fault of the origin's.
  const limitsMs = isLimited ? options.maxWaitMs : 0;
  const retries = {
    ...RETRIES,
    headTimeoutMs: RETRIES.headTimeoutMs + limitsMs,
    hurried: { ...HURRIED, headTimeoutMs: HURRIED.headTimeoutMs + limitsMs },
    onRetry: events.onRetry,
  };
  return new RetryingOrigin(origin, retries, systemClock, Math.random);
}

function limitsOf({ limits }: OriginRule, settings: OriginSettings): LimitOptions {
  return {
    requestsPerSecond: limits.requestsPerSecond ?? settings.originRequests,
    bytesPerSecond: limits.bytesPerSecond ?? settings.originBytes,
    concurrency: limits.concurrency ?? settings.originConcurrency,
    maxWaitMs: limits.maxWaitMs ?? settings.originMaxWaitMs,
    maxWaiting: MAX_WAITING,
  };
}

function openS3(rule: S3Rule, { s3ForcePathStyle }: OriginSettings, environment: Environment): Origin {
  return new S3Origin({
    endpoint: rule.endpoint,
    region: rule.region,
    forcePathStyle: rule.pathStyle ?? s3ForcePathStyle,
    credentials: s3Credentials(rule, environment),
    requesterPays: rule.requesterPays,
    maxConnections: MAX_CONNECTIONS,
    connectTimeoutMs: RETRIES.headTimeoutMs,
    idleTimeoutMs: RETRIES.idleTimeoutMs,
  });
}

/** The settings have been refused already where a variable is not set. */
function s3Credentials({ credentials }: S3Rule, environment: Environment): S3Options["credentials"] {
  if (typeof credentials === "string" || "profile" in credentials) return credentials;
  const { accessKeyId, secretAccessKey, sessionToken } = credentials.keys;
  return {
    accessKeyId: environment[accessKeyId] ?? "",
    secretAccessKey: environment[secretAccessKey] ?? "",
    ...(sessionToken !== undefined && { sessionToken: environment[sessionToken] ?? "" }),
  };
}

function openGcs({ endpoint, credentials, userProject }: GcsRule): Origin {
  const { idleTimeoutMs } = RETRIES;
  return new GcsOrigin({ endpoint, credentials, userProject, maxConnections: MAX_CONNECTIONS, idleTimeoutMs });
}
