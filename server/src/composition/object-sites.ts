import type { Site } from "../api/http/site.js";
import { accessLogged } from "../api/s3/access-log.js";
import { Cors, type CorsOrigins } from "../api/s3/cors.js";
import { objectSite } from "../api/s3/object-site.js";
import type { Addressing, StoreOfBucket } from "../api/s3/request-target.js";
import { covers } from "../config/bucket-pattern.js";
import type { Settings } from "../config/settings.js";
import type { Log } from "../runtime/log.js";
import type { Opened } from "../runtime/opened.js";
import { LineFile } from "../security/audit/line-file.js";

/** The objects at the HTTP listener and at the S3 endpoint. They share the rules of CORS and the access log, which `opened` closes. */
export function objectSites(settings: Settings, log: Log, opened: Opened): { prefixed: Site; root: Site } {
  const cors = new Cors(corsOriginsOf(settings));
  const accessLog = openAccessLog(settings, log);
  opened.add(async () => accessLog?.close());
  const siteOf = (addressing: Addressing): Site => {
    const site = objectSite(addressing, cors);
    return accessLog === undefined ? site : accessLogged(site, addressing, accessLog.writeText);
  };
  return {
    prefixed: siteOf({ form: "prefixed", storeOf: valueBucketsOf(settings) }),
    root: siteOf({ form: "root", domains: settings.s3Domain, storeOf: storesAtS3Endpoint(settings) }),
  };
}

/** The configured pages per bucket: those of its origin in the origins file, else those of the settings. */
function corsOriginsOf({ origins = [], corsOrigin }: Settings): CorsOrigins {
  return (bucket) => origins.find(({ buckets }) => buckets.some((each) => covers(each, bucket)))?.corsOrigins ?? corsOrigin;
}

/** Names the store of each bucket under `/s3`: those of values hide S3's of the same name. Undefined: all are S3's. */
function valueBucketsOf({ cacheBucket }: Settings): StoreOfBucket | undefined {
  const names = new Set(cacheBucket.map(({ name }) => name));
  return names.size === 0 ? undefined : (bucket) => (names.has(bucket) ? "cache" : "s3");
}

/**
 * Names the store of each bucket at the S3 endpoint: values, or the first origin that serves buckets there and matches. Undefined: all
 * are S3's.
 */
function storesAtS3Endpoint(settings: Settings): StoreOfBucket | undefined {
  const valuesFirst = valueBucketsOf(settings);
  const serving = (settings.origins ?? []).filter((rule) => rule.scheme === "s3" || rule.atS3Endpoint);
  if (serving.every(({ scheme }) => scheme === "s3")) return valuesFirst;
  return (bucket) => {
    if (valuesFirst?.(bucket) === "cache") return "cache";
    return serving.find(({ scheme, buckets }) => buckets.some((pattern) => covers(pattern, { scheme, bucket })))?.scheme ?? "s3";
  };
}

function openAccessLog({ accessLog: path }: Settings, log: Log): LineFile | undefined {
  if (path === undefined) return undefined;
  return new LineFile(path, ({ message }, lines) =>
    log.error({ event: "access-log-failed", path, lines }, `cannot write lines of the access log: ${message}`),
  );
}
