import { type HttpTarget, httpTarget } from "../http/http-get.js";

/** How to reach GCS. */
export interface GcsOptions {
  /** `http(s)://host[:port]`; undefined: STORAGE_EMULATOR_HOST, else Google's own. */
  readonly endpoint: string | undefined;
  /**
   * `default` are the application default credentials (Workload Identity among them), which plain-http endpoints, being
   * emulators, are not sent; `anonymous` sends no token.
   */
  readonly credentials: "default" | "anonymous" | { readonly keyFile: string };
  /** The project that pays for reading from requester-pays buckets. */
  readonly userProject: string | undefined;
  /** Connections at most; further requests wait for one. */
  readonly maxConnections: number;
  /** For a connection on which nothing moves, before and in the body. */
  readonly idleTimeoutMs: number;
}

/** GCS's address with the way to a token for it. */
export interface GcsClient {
  readonly target: HttpTarget;
  /** Headers that prove who asks; none for anonymous access. Rejects with the auth library's errors. */
  authorization(): Promise<Record<string, string>>;
}

/**
 * Only credentials and endpoint are the library's part: its range streams and metadata calls share one agent that any
 * failing stream of them destroys, and cannot be cancelled. Imported at first use: reading it takes 0.25 s.
 */
export async function openGcsClient(options: GcsOptions): Promise<GcsClient> {
  const { Storage } = await import("@google-cloud/storage");
  const { endpoint, credentials } = options;
  const storage = new Storage({
    ...(endpoint !== undefined && { apiEndpoint: endpoint }),
    ...(typeof credentials === "object" && { keyFilename: credentials.keyFile }),
  });
  const emulated = endpoint === undefined && storage.customEndpoint;
  // The library reads STORAGE_EMULATOR_HOST without a scheme as https; emulators speak http.
  const address =
    emulated && !/^https?:/.test(storage.baseUrl) ? storage.apiEndpoint.replace("https:", "http:") : storage.apiEndpoint;
  const target = httpTarget(address, options.maxConnections, options.idleTimeoutMs);
  const billing = options.userProject === undefined ? {} : { "x-goog-user-project": options.userProject };
  const anonymous = credentials === "anonymous" || (credentials === "default" && (emulated || target.base.protocol === "http:"));
  return {
    target,
    authorization: async () => (anonymous ? billing : { ...(await storage.authClient.getRequestHeaders()), ...billing }),
  };
}
