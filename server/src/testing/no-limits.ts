import type { ClientLimits } from "../api/limits/clients.js";

/** No client is ever refused. */
export const noLimits: ClientLimits = {
  maxConnections: Number.POSITIVE_INFINITY,
  maxClientConnections: Number.POSITIVE_INFINITY,
  maxReads: Number.POSITIVE_INFINITY,
  maxClientReads: Number.POSITIVE_INFINITY,
  slowReaderBytes: Number.POSITIVE_INFINITY,
  overloadMs: Number.POSITIVE_INFINITY,
};
