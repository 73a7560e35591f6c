import { S3Emulator } from "../emulators/s3.js";
import { originContract } from "./contract/contract.js";
import { openS3 } from "./open-s3.js";

const refusals = [
  { status: 401, code: "Unauthorized", fetch: "PERMISSION_DENIED" },
  { status: 403, code: "AccessDenied", fetch: "PERMISSION_DENIED" },
  { status: 429, code: "TooManyRequests", fetch: "RESOURCE_EXHAUSTED" },
  // The response to a HEAD has no body, so its status does not identify throttling.
  { status: 503, code: "SlowDown", fetch: "RESOURCE_EXHAUSTED", stat: "UNAVAILABLE" },
  { status: 503, code: "ServiceUnavailable", fetch: "UNAVAILABLE" },
  { status: 500, code: "InternalError", fetch: "UNAVAILABLE" },
  { status: 502, code: "BadGateway", fetch: "UNAVAILABLE" },
] as const;

for (const originClient of ["auto", "sdk"] as const) {
  originContract(`the S3 origin with --origin-client ${originClient}`, refusals, async () => {
    const store = await S3Emulator.start();
    const maxConnections = 6;
    const open = (idleTimeoutMs: number) => openS3(store.endpoint, { maxConnections, idleTimeoutMs, originClient });
    return { scheme: "s3", store, origin: open(60_000), shortTimeout: open(150), maxConnections };
  });
}
