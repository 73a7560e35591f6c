import { OriginAvailability, type OriginEvents, type S3Options, S3Origin, systemClock } from "@frontcache/server/testing";

/** The S3 origin of an emulator, with the options of a test. */
export function openS3(endpoint: string, options: Partial<S3Options> = {}): S3Origin {
  return new S3Origin({
    endpoint,
    region: undefined,
    forcePathStyle: true,
    credentials: { accessKeyId: "key", secretAccessKey: "secret" },
    originClient: "auto",
    requesterPays: false,
    maxConnections: 4,
    connectTimeoutMs: 60_000,
    idleTimeoutMs: 60_000,
    proxyOf: () => undefined,
    ca: undefined,
    onDroppedHeaders: () => {},
    ...options,
  });
}

/** The availability of origins, for tests that do not look at it. */
export function observedOrigins(): OriginAvailability {
  return new OriginAvailability({ clock: systemClock, onChange: () => {} });
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
