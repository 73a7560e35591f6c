import type { BucketRef } from "@frontcache/proto";
import { hostOf } from "../http/way.js";

/** Where requests for a bucket are sent. */
export interface BucketPlace {
  readonly region: string;
  /** `http(s)://host[:port]`; undefined: the configured endpoint, or the SDK's choice by region. */
  readonly endpoint: string | undefined;
}

/** A region becomes part of a host name, so nothing else may be taken for one. */
const REGION = /^[a-z0-9-]{1,40}$/;

/** Providers whose endpoints differ by region. The endpoints of others have one host. */
const PROVIDERS = [
  "amazonaws.com",
  "amazonaws.com.cn",
  "aliyuncs.com",
  "backblazeb2.com",
  "cloudflarestorage.com",
  "digitaloceanspaces.com",
  "googleapis.com",
  "idrivee2.com",
  "linodeobjects.com",
  "myqcloud.com",
  "oraclecloud.com",
  "ovh.net",
  "scw.cloud",
  "wasabisys.com",
  "yandexcloud.net",
];

/** What an answer says about the place of a bucket: fields of the SDK's errors, any of which may be missing. */
interface Redirect {
  /** In the bodies of PermanentRedirect and AuthorizationHeaderMalformed. */
  readonly Region?: unknown;
  /** A host, in the body of PermanentRedirect. */
  readonly Endpoint?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}

/** Whether an error says that the bucket is elsewhere: a redirect, or a signature for the wrong region. */
export function isRedirect(error: unknown): boolean {
  const status = ((error ?? {}) as Redirect).$metadata?.httpStatusCode;
  return status === 301 || status === 307 || (status === 400 && regionOf(error) !== undefined);
}

/** The bucket's region according to an error: redirects name it in a header, rejected signatures in their body. */
export function regionOf(error: unknown): string | undefined {
  const { Region, $metadata, $response } = (error ?? {}) as Redirect;
  const status = $metadata?.httpStatusCode;
  if (status !== 301 && status !== 307 && status !== 400) return undefined;
  const region = $response?.headers?.["x-amz-bucket-region"] ?? Region;
  return typeof region === "string" && REGION.test(region) ? region : undefined;
}

/** The bucket's endpoint according to a redirect, without the bucket's name; undefined if the redirect names none. */
export function endpointOf(error: unknown, { bucket }: Pick<BucketRef, "bucket">, protocol: string): URL | undefined {
  const { Endpoint, $metadata, $response } = (error ?? {}) as Redirect;
  const status = $metadata?.httpStatusCode;
  if (status !== 301 && status !== 307) return undefined;
  const location = $response?.headers?.location;
  const named = typeof Endpoint === "string" ? `${protocol}//${Endpoint}` : location;
  if (named === undefined || !URL.canParse(named)) return undefined;
  const url = new URL(named);
  if (url.protocol !== "http:" && url.protocol !== "https:") return undefined;
  const host = url.hostname.startsWith(`${bucket.toLowerCase()}.`) ? url.hostname.slice(bucket.length + 1) : url.hostname;
  return new URL(`${url.protocol}//${host}${url.port === "" ? "" : `:${url.port}`}`);
}

/**
 * The place that a redirect names for a bucket that was asked for at `asked`. `custom` is the endpoint of that request, undefined
 * for AWS's own. Undefined: the redirect names no other place, or one at another provider, which would get signed requests.
 */
export function redirectedPlace(
  error: unknown,
  ref: Pick<BucketRef, "bucket">,
  asked: BucketPlace,
  custom: URL | undefined,
): BucketPlace | undefined {
  const region = regionOf(error);
  const endpoint = endpointOf(error, ref, custom?.protocol ?? "https:");
  if (custom === undefined) {
    // The SDK knows AWS's endpoints; only the region is needed.
    const named = region ?? awsRegionOf(endpoint);
    return named === undefined || named === asked.region ? undefined : { region: named, endpoint: asked.endpoint };
  }
  const isElsewhere = endpoint !== undefined && endpoint.origin !== custom.origin;
  if (isElsewhere && isOfSameProvider(custom, endpoint)) {
    return { region: region ?? awsRegionOf(endpoint) ?? asked.region, endpoint: endpoint.origin };
  }
  if (isElsewhere || region === undefined || region === asked.region) return undefined;
  return { region, endpoint: asked.endpoint };
}

function isOfSameProvider(custom: URL, endpoint: URL): boolean {
  if (custom.protocol === "https:" && endpoint.protocol !== "https:") return false;
  const [from, to] = [hostOf(custom), hostOf(endpoint)];
  const domain = PROVIDERS.find((provider) => from.endsWith(`.${provider}`)) ?? from;
  return to === domain || to.endsWith(`.${domain}`);
}

/** The region in the name of one of AWS's endpoints. */
function awsRegionOf(endpoint: URL | undefined): string | undefined {
  if (endpoint === undefined) return undefined;
  return /^s3[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?$/.exec(endpoint.hostname)?.[1];
}
