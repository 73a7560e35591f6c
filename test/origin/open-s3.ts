import { type OriginEvents, type S3Options, S3Origin } from "@frontcache/server/testing";

/** The S3 origin of an emulator, with the options of a test. */
export function openS3(endpoint: string, options: Partial<S3Options> = {}): S3Origin {
  return new S3Origin({
    endpoint,
    region: undefined,
    forcePathStyle: true,
    credentials: { accessKeyId: "key", secretAccessKey: "secret" },
    requesterPays: false,
    maxConnections: 4,
    connectTimeoutMs: 5_000,
    idleTimeoutMs: 5_000,
    proxyOf: () => undefined,
    ca: undefined,
    onDroppedHeaders: () => {},
    ...options,
  });
}

/** For tests that ignore events. */
export const ignoredEvents: OriginEvents = {
  onRetry: () => {},
  onFailure: () => {},
  onHedge: () => {},
  onRequest: () => {},
  onLimitReached: () => {},
  onDroppedHeaders: () => {},
};
