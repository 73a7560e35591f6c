import { GcsOrigin } from "@frontcache/server/testing";
import type { GcsEmulator } from "../emulators/gcs.js";
import { HttpStack } from "../s3/http-stack.js";

/** A member's cache and HTTP listener in front of GCS. `writes`: it takes writes, and caches what is written. */
export function openGcsStack(store: GcsEmulator, { writes = false } = {}): Promise<HttpStack> {
  const origin = new GcsOrigin({
    endpoint: store.endpoint,
    credentials: "anonymous",
    userProject: undefined,
    maxConnections: 16,
    idleTimeoutMs: 10_000,
    proxyOf: () => undefined,
    ca: undefined,
    onDroppedHeaders: () => {},
  });
  return HttpStack.open(origin, writes ? { revalidateAfterMs: 60_000, writes, teeWritesBytes: 4 << 20 } : {});
}
