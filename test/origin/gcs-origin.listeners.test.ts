import { GcsOrigin } from "@frontcache/server/testing";
import { GcsEmulator } from "../emulators/gcs.js";
import { originContract } from "./contract/contract.js";

originContract(
  "the GCS origin",
  [
    { status: 401, code: "authError", fetch: "PERMISSION_DENIED" },
    { status: 403, code: "forbidden", fetch: "PERMISSION_DENIED" },
    { status: 403, code: "userRateLimitExceeded", fetch: "RESOURCE_EXHAUSTED" },
    { status: 429, code: "rateLimitExceeded", fetch: "RESOURCE_EXHAUSTED" },
    { status: 500, code: "internalError", fetch: "UNAVAILABLE" },
    { status: 503, code: "backendError", fetch: "UNAVAILABLE" },
  ],
  async () => {
    const store = await GcsEmulator.start();
    const maxConnections = 6;
    const settings = { endpoint: store.endpoint, credentials: "default", userProject: undefined, maxConnections } as const;
    const open = (idleTimeoutMs: number) =>
      new GcsOrigin({ ...settings, idleTimeoutMs, proxyOf: () => undefined, ca: undefined, onDroppedHeaders: () => {} });
    return { scheme: "gs", store, origin: open(60_000), shortTimeout: open(150), maxConnections };
  },
);
