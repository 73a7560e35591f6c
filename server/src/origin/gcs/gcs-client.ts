import type { HttpClient } from "@frontcache/client/http";
import { systemClock } from "../../runtime/clock.js";
import type { OnDroppedHeaders } from "../checked-answer.js";
import { Credentials } from "../credentials.js";
import { trusting } from "../http/authorities.js";
import { originClient } from "../http/origin-client.js";
import type { Way } from "../http/way.js";

/** How to reach GCS. */
export interface GcsOptions {
  /** `http(s)://host[:port]`; undefined: STORAGE_EMULATOR_HOST, else Google's. */
  readonly endpoint: string | undefined;
  /**
   * `default`: the application default credentials, for example of Workload Identity; they are not sent to plain-http endpoints,
   * which are emulators. `anonymous`: no token.
   */
  readonly credentials: "default" | "anonymous" | { readonly keyFile: string };
  /** The project that pays for reads from requester-pays buckets. */
  readonly userProject: string | undefined;
  /** Upper bound of connections; further requests wait for one. */
  readonly maxConnections: number;
  /** Timeout of a connection on which nothing moves, before and in the body. */
  readonly idleTimeoutMs: number;
  readonly proxyOf: Way["proxyOf"];
  readonly directSend?: Way["directSend"];
  /** File of certificate authorities (PEM) to trust besides Node's. */
  readonly ca: string | undefined;
  readonly onDroppedHeaders: OnDroppedHeaders;
}

/** A token as headers. */
interface GcsToken {
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds since 1970; undefined: unknown. */
  readonly expiryMs: number | undefined;
}

/** GCS's address, and what requests carry. */
export interface GcsClient {
  readonly http: HttpClient;
  /** `http(s)://host[:port]` */
  readonly target: string;
  /** Precedes all paths: that of the configured endpoint. */
  readonly prefix: string;
  /** Undefined: requests are anonymous. */
  readonly credentials: Credentials<GcsToken> | undefined;
  readonly billing: Readonly<Record<string, string>>;
}

/** Imports Google's library, if that has not been done: loading it takes 0.25 s. */
export function loadGcsSdk() {
  return import("@google-cloud/storage");
}

/**
 * Google's library finds credentials and endpoint only: its range streams and metadata calls cannot be cancelled, and share one
 * agent, which any failing stream destroys.
 */
export async function openGcsClient(options: GcsOptions): Promise<GcsClient> {
  // Without this the library looks for the metadata server once, and never finds one that starts later.
  process.env.METADATA_SERVER_DETECTION ??= "assume-present";
  keepMetadataDirect();
  const { Storage } = await loadGcsSdk();
  const { endpoint, credentials } = options;
  const open = () =>
    new Storage({
      // Reads do not use a project. Without one the library starts the gcloud command to find it.
      projectId: "unused",
      ...(endpoint !== undefined && { apiEndpoint: endpoint }),
      ...(typeof credentials === "object" && { keyFilename: credentials.keyFile }),
    });
  const storage = open();
  const emulated = endpoint === undefined && storage.customEndpoint;
  // The library reads STORAGE_EMULATOR_HOST without a scheme as https, but emulators speak http.
  const address =
    emulated && !/^https?:/.test(storage.baseUrl) ? storage.apiEndpoint.replace("https:", "http:") : storage.apiEndpoint;
  const { maxConnections, idleTimeoutMs, proxyOf, directSend } = options;
  const way = { proxyOf, directSend, secureContext: await trusting(options.ca) };
  const { origin: target, protocol, pathname } = new URL(address);
  const at = {
    http: originClient({ maxConnections, waitTimeoutMs: undefined, idleTimeoutMs, way }),
    target,
    prefix: pathname.replace(/\/$/, ""),
  };
  const billing: Record<string, string> = options.userProject === undefined ? {} : { "x-goog-user-project": options.userProject };
  const isAnonymous = credentials === "anonymous" || (credentials === "default" && (emulated || protocol === "http:"));
  if (isAnonymous) return { ...at, credentials: undefined, billing };
  // A new client of the library for each renewal: it has no cached token, and reads files again.
  const load = async (): Promise<GcsToken> => {
    const { authClient } = open();
    const headers = await authClient.getRequestHeaders();
    const client = await authClient.getClient();
    return { headers, expiryMs: client.credentials.expiry_date ?? undefined };
  };
  const isSame = (one: GcsToken, other: GcsToken) => one.headers.Authorization === other.headers.Authorization;
  const source = { load, expiryMs: ({ expiryMs }: GcsToken) => expiryMs, isSame };
  return { ...at, credentials: new Credentials(source, systemClock), billing };
}

/** Google's library would ask its metadata server, which is on this machine's link, by the proxy for HTTPS. */
function keepMetadataDirect(): void {
  const { env } = process;
  const listed = env.NO_PROXY ?? env.no_proxy ?? "";
  const hosts = ["169.254.169.254", "metadata.google.internal", "metadata.google.internal."];
  const missing = hosts.filter((host) => !listed.split(/[\s,]+/).includes(host));
  const isProxied = [env.HTTPS_PROXY, env.https_proxy, env.HTTP_PROXY, env.http_proxy].some(Boolean);
  if (isProxied && missing.length > 0) env.NO_PROXY = [listed, ...missing].filter((entry) => entry !== "").join(",");
}
