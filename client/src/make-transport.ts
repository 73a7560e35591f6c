import { grpcTransport, landingTransport } from "./measured-transports.js";
import type { Clock } from "./members/clock.js";
import { Gateways } from "./members/gateways.js";
import { HttpFirstTransport, HttpTransport } from "./members/http-transports.js";
import type { Transport } from "./members/transport.js";
import type { ClientMetrics } from "./metrics.js";
import type { ClientOptions } from "./options.js";

/** How long a gateway that failed is left aside while its member answers by gRPC. */
const GATEWAY_ASIDE = { firstMs: 500, longestMs: 15_000 };

/**
 * For each gateway. One core of a member answers no more than this many at a time; connections beyond it would only share
 * its time, while 10,000 from all clients is what a gateway takes.
 */
const MOST_CONNECTIONS = 32;
/** Shorter than gateways (75 s) and load balancers (60 s) keep idle connections, so that it is mostly us who close them. */
const IDLE_MS = 45_000;
/** How long a read may bring nothing before its gateway is looked for. */
const STALLED_AFTER_MS = 1_500;

/** The transport that the options ask for; `metrics`: what its reads are counted by. */
export function makeTransport(
  { transport, connectTimeoutMs, access }: ClientOptions,
  clock: Clock,
  metrics: ClientMetrics | undefined,
): Transport {
  const grpc = grpcTransport({ clock, access, connectTimeoutMs }, metrics);
  if (transport === "grpc") return grpc;
  const limits = { mostConnections: MOST_CONNECTIONS, idleMs: IDLE_MS, stalledAfterMs: STALLED_AFTER_MS };
  const http = landingTransport({ clock, connectTimeoutMs, access, ...limits }, metrics);
  if (transport === "http") return new HttpTransport(grpc, http);
  const lookFor = (httpAddress: string): Promise<void> => http.lookFor(httpAddress);
  return new HttpFirstTransport(grpc, http, new Gateways({ clock, asideFor: GATEWAY_ASIDE, lookFor }));
}
