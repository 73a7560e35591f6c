import { type CacheError, ORIGIN_SCHEMES } from "@frontcache/proto";
import type { Environment } from "../config/declarations.js";
import type { GcsRule, OriginRule, S3Rule } from "../config/origin-rule.js";
import { parseOrigins } from "../config/origins-file.js";
import type { Settings } from "../config/settings.js";
import type { OriginAvailability } from "../origin/availability.js";
import { DeniedToPrincipal, type OnDroppedHeaders, OriginUnavailable } from "../origin/checked-answer.js";
import type { OriginFailure } from "../origin/failure-log.js";
import { loadGcsSdk } from "../origin/gcs/gcs-client.js";
import { GcsOrigin } from "../origin/gcs/gcs-origin.js";
import { type Hedge, hedged } from "../origin/hedged.js";
import { proxiesOf, type Way } from "../origin/http/way.js";
import { limited } from "../origin/limited.js";
import { measured, type RequestReport } from "../origin/measured.js";
import { compose, type Origin, type OriginWrapper } from "../origin/origin.js";
import { type LimitOptions, type LimitReached, OriginLimits } from "../origin/origin-limits.js";
import { perBucket } from "../origin/per-bucket.js";
import type { Retry } from "../origin/retries.js";
import { type RetryingOptions, retrying } from "../origin/retrying.js";
import { loadS3Sdk, type S3Options } from "../origin/s3/s3-client.js";
import { S3Origin } from "../origin/s3/s3-origin.js";
import { storedAs } from "../origin/stored-bucket.js";
import { systemClock } from "../runtime/clock.js";
import { NO_ORIGIN_ACCESSES, type OriginAccesses } from "../security/origin-access.js";

/** Connections to one origin. A fill uses `--fill-parallelism` of them; the fill memory bounds the number of fills. */
const MAX_CONNECTIONS = 256;

/** Retries take 3 s on average: longer than a moment of throttling, shorter than clients' timeouts. */
const RETRIES = { attempts: 6, baseDelayMs: 100, maxDelayMs: 5_000, headTimeoutMs: 10_000, idleTimeoutMs: 5_000 };

/** For questions that the cache can answer with a stale version: one failure may be chance, two are not. No read waits for them long. */
const WITH_FALLBACK = { attempts: 2, headTimeoutMs: RETRIES.headTimeoutMs };

/** Requests waiting for an origin's limits. `--origin-max-wait` bounds each wait; this bounds the memory of a flood. */
const MAX_WAITING = 10_000;

/** A delay of a few milliseconds is this process's own, not the origin's. */
const HEDGING = { share: 0.05, minDelayMs: 10 };

/** The default without an origins file: AWS and Google, for all buckets. */
const EVERYWHERE = parseOrigins(
  JSON.stringify({ origins: ORIGIN_SCHEMES.map((scheme) => ({ buckets: `${scheme}://*` })) }),
  "the default",
);

/** The settings that origins are built from. */
export type OriginSettings = Pick<
  Settings,
  | "origins"
  | "s3ForcePathStyle"
  | "originRequests"
  | "originBytes"
  | "originConcurrency"
  | "originMaxWaitMs"
  | "hedge"
  | "originClient"
>;

/** Events of the origins, for logs and metrics. */
export interface OriginEvents {
  readonly onRetry: (retry: Retry & { readonly endpoint: string }) => void;
  /** A request has failed with all its retries. */
  readonly onFailure: (failure: OriginFailure) => void;
  readonly onHedge: (hedge: Hedge) => void;
  /** A request to a store has ended. */
  readonly onRequest: (report: RequestReport) => void;
  /** This member's own limits rejected a request. */
  readonly onLimitReached: (reached: LimitReached) => void;
  /** Some of an object's headers are ignored. */
  readonly onDroppedHeaders: OnDroppedHeaders;
}

/**
 * All origins as one. A request passes, in this order: the choice by bucket; the bucket's name in the store; the report of failures;
 * retries; the guard against origins that are unavailable; limits, which count each attempt; hedging, which must not take a wait for
 * the limits for the origin's; the observation of its availability; measuring; the store. Nothing is connected before the first
 * request.
 */
export function openOrigins(
  settings: OriginSettings,
  environment: Environment,
  events: OriginEvents,
  availability: OriginAvailability,
  accesses: OriginAccesses = NO_ORIGIN_ACCESSES,
  directSend?: Way["directSend"],
): Origin {
  const reach = { proxyOf: proxiesOf(environment), directSend };
  const rules = settings.origins ?? EVERYWHERE;
  return perBucket(
    rules.flatMap((rule) => {
      const origin = openOrigin(rule, { settings, environment, events, availability, accesses, reach });
      return rule.buckets.map((pattern) => ({ ...pattern, origin: atStoreBucket(rule, pattern.bucket)(origin) }));
    }),
  );
}

/**
 * Loads the SDKs of the origins. If the first read loaded one, it would block the event loop: for 0.15 s of CPU time, which is more
 * than a second on a starved machine, and other members would find this one frozen. Without an origins file only S3's is loaded;
 * Google's follows with its first read.
 */
export async function loadSdks({ origins }: Pick<OriginSettings, "origins">): Promise<void> {
  const schemes = new Set(origins === undefined ? ["s3"] : origins.map(({ scheme }) => scheme));
  if (schemes.has("s3")) await loadS3Sdk();
  if (schemes.has("gs")) await loadGcsSdk();
}

/** How the stores of all rules are reached. */
type Reach = Pick<Way, "proxyOf" | "directSend">;

interface OriginContext {
  readonly settings: OriginSettings;
  readonly environment: Environment;
  readonly events: OriginEvents;
  readonly availability: OriginAvailability;
  readonly accesses: OriginAccesses;
  readonly reach: Reach;
}

function openOrigin(rule: OriginRule, { settings, environment, events, availability, accesses, reach }: OriginContext): Origin {
  const options = limitsOf(rule, settings);
  const isLimited = [options.requestsPerSecond, options.bytesPerSecond, options.concurrency].some((limit) => limit !== undefined);
  const limits = isLimited ? new OriginLimits(options, systemClock, events.onLimitReached) : undefined;
  // Waiting for the limits must not count as a slow origin.
  const maxWaitMs = isLimited ? options.maxWaitMs : 0;
  const endpoint = endpointOf(rule, environment);
  const { guarded, observed } = availability.wrappersOf(endpoint);
  // That an origin is unavailable is reported once, by its availability. A principal's own credentials are its own business.
  const isReported = (error: CacheError): boolean => !(error instanceof OriginUnavailable || error instanceof DeniedToPrincipal);
  const wrappers: OriginWrapper[] = [
    measured(
      ({ error, ...report }) => error && isReported(error) && events.onFailure({ ...report, endpoint, error }),
      systemClock,
    ),
    retrying(
      retriesOf(maxWaitMs, (retry) => events.onRetry({ ...retry, endpoint })),
      systemClock,
      Math.random,
    ),
  ];
  wrappers.push(guarded);
  if (limits !== undefined) wrappers.push(limited(limits));
  if (rule.hedge ?? settings.hedge) {
    const acquireExtra = () => (limits === undefined ? { release() {} } : limits.tryAcquire());
    wrappers.push(hedged({ ...HEDGING, acquireExtra, onHedge: events.onHedge }, systemClock));
  }
  wrappers.push(observed, measured(events.onRequest, systemClock));
  return compose(...wrappers)(
    rule.scheme === "s3"
      ? openS3(rule, settings, environment, { ...reach, accesses, ...events })
      : openGcs(rule, { ...reach, ...events }),
  );
}

function atStoreBucket({ storeBucket }: OriginRule, bucket: string): OriginWrapper {
  return storeBucket === undefined ? (origin) => origin : storedAs({ bucket, storeBucket });
}

function retriesOf(maxWaitMs: number, onRetry: RetryingOptions["onRetry"]): RetryingOptions {
  const { headTimeoutMs } = RETRIES;
  return {
    ...RETRIES,
    headTimeoutMs: headTimeoutMs + maxWaitMs,
    withFallback: { ...WITH_FALLBACK, headTimeoutMs: WITH_FALLBACK.headTimeoutMs + maxWaitMs },
    onRetry,
  };
}

/** The origin's address, for logs. Without one in the rule or the environment the SDK chooses by region. */
function endpointOf({ scheme, endpoint }: OriginRule, environment: Environment): string {
  if (endpoint !== undefined) return endpoint;
  if (scheme === "gs") return environment.STORAGE_EMULATOR_HOST ?? "https://storage.googleapis.com";
  return environment.AWS_ENDPOINT_URL_S3 ?? environment.AWS_ENDPOINT_URL ?? "AWS S3";
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

/** What the stores of all rules share. */
type StoreContext = Reach & Pick<OriginEvents, "onDroppedHeaders">;

function openS3(
  rule: S3Rule,
  { s3ForcePathStyle, originClient }: OriginSettings,
  environment: Environment,
  { proxyOf, directSend, accesses, onDroppedHeaders }: StoreContext & Pick<OriginContext, "accesses">,
): Origin {
  return new S3Origin({
    endpoint: rule.endpoint,
    region: rule.region,
    forcePathStyle: rule.pathStyle ?? s3ForcePathStyle,
    credentials: s3Credentials(rule, environment),
    accesses: accessesOf(rule, accesses),
    originClient,
    requesterPays: rule.requesterPays,
    maxConnections: MAX_CONNECTIONS,
    connectTimeoutMs: RETRIES.headTimeoutMs,
    idleTimeoutMs: RETRIES.idleTimeoutMs,
    proxyOf,
    directSend,
    ca: rule.ca,
    onDroppedHeaders,
  });
}

/** Accesses name buckets as clients do, whatever a bucket's name in the store is. */
function accessesOf({ storeBucket, buckets }: S3Rule, accesses: OriginAccesses): OriginAccesses {
  const [served] = buckets;
  if (storeBucket === undefined || served === undefined) return accesses;
  return { of: (principal, { url }) => accesses.of(principal, { ...served, url }) };
}

/** Settings with a missing variable were rejected before. */
function s3Credentials({ credentials }: S3Rule, environment: Environment): S3Options["credentials"] {
  if (typeof credentials === "string" || "profile" in credentials) return credentials;
  const { accessKeyId, secretAccessKey, sessionToken } = credentials.keys;
  return {
    accessKeyId: environment[accessKeyId] ?? "",
    secretAccessKey: environment[secretAccessKey] ?? "",
    ...(sessionToken !== undefined && { sessionToken: environment[sessionToken] ?? "" }),
  };
}

function openGcs(
  { endpoint, credentials, userProject, ca }: GcsRule,
  { proxyOf, directSend, onDroppedHeaders }: StoreContext,
): Origin {
  const { idleTimeoutMs } = RETRIES;
  const of = { endpoint, credentials, userProject, ca, proxyOf, directSend, onDroppedHeaders };
  return new GcsOrigin({ ...of, maxConnections: MAX_CONNECTIONS, idleTimeoutMs });
}
