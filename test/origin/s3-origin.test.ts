import { S3Origin } from "../../server/src/origin/s3-origin.js";
import { S3Emulator } from "../emulators/s3.js";
import { originContract } from "./contract/contract.js";

const refusals = [
  { status: 401, code: "Unauthorized", fetch: "PERMISSION_DENIED" },
  { status: 403, code: "AccessDenied", fetch: "PERMISSION_DENIED" },
  { status: 429, code: "TooManyRequests", fetch: "RESOURCE_EXHAUSTED" },
  // A HEAD's answer has no body to tell throttling by.
  { status: 503, code: "SlowDown", fetch: "RESOURCE_EXHAUSTED", stat: "UNAVAILABLE" },
  { status: 503, code: "ServiceUnavailable", fetch: "UNAVAILABLE" },
  { status: 500, code: "InternalError", fetch: "UNAVAILABLE" },
  { status: 502, code: "BadGateway", fetch: "UNAVAILABLE" },
] as const;

originContract("the S3 origin", refusals, async () => {
  const store = await S3Emulator.start();
  const maxConnections = 6;
  const open = (idleTimeoutMs: number) =>
    new S3Origin({
      endpoint: store.endpoint,
      region: undefined,
      forcePathStyle: true,
      credentials: { accessKeyId: "key", secretAccessKey: "secret" },
      requesterPays: false,
      maxConnections,
      connectTimeoutMs: 5_000,
      idleTimeoutMs,
    });
  return { scheme: "s3", store, origin: open(60_000), impatient: open(150), maxConnections };
});
