import { CacheError, canBeEntityTag } from "@frontcache/proto";
import type { Access } from "../access.js";
import type { Clock } from "../clock.js";
import { Lookout } from "../lookout.js";
import { socketAddress } from "../socket-address.js";
import { type CallLimits, type MemberAddress, type ReadRequest, type ReadTarget, Unreachable } from "../transport.js";
import { ConnectionPool } from "./connection-pool.js";
import { requestHead } from "./request-head.js";
import { type Gateway, runRead } from "./running-read.js";

/** How gateways are read from. */
export interface LandingTransportOptions {
  readonly clock: Clock;
  /** How long a connection may take to stand before the gateway counts as out of reach, milliseconds. */
  readonly connectTimeoutMs: number;
  readonly access: Access;
  /** Connections to one gateway; reads beyond that wait in order. */
  readonly mostConnections: number;
  /** How long a connection is kept that nobody uses, milliseconds; shorter than gateways keep theirs (75 s). */
  readonly idleMs: number;
  /** How long a read may bring nothing before it is made sure that its gateway is still there, milliseconds. */
  readonly stalledAfterMs: number;
}

/** Reads from members' gateways by HTTP/1.1. The kernel writes the bytes into the target: they are not copied. */
export class LandingTransport {
  readonly #options: LandingTransportOptions;
  readonly #gateways = new Map<string, Gateway>();
  readonly #lookout: Lookout;

  constructor(options: LandingTransportOptions) {
    this.#options = options;
    this.#lookout = new Lookout(options.clock, options.connectTimeoutMs);
  }

  /**
   * As `Transport.read`. Rejects with Unreachable where the gateway can't be reached, Unintelligible where what answers is none,
   * INVALID_ARGUMENT for a version that HTTP can't name.
   */
  async read(address: MemberAddress, request: ReadRequest, target: ReadTarget, limits: CallLimits): Promise<void> {
    const { httpAddress } = address;
    if (httpAddress === undefined) throw new Unreachable(`${request.url}: member ${address.grpcAddress} has no gateway`);
    if (request.version !== "" && !canBeEntityTag(request.version)) {
      throw new CacheError("INVALID_ARGUMENT", `${request.url}: its version can't be named by HTTP: use transport auto or grpc`);
    }
    const head = requestHead(request, httpAddress, this.#options.access.authorization());
    await runRead(head, { request, target, member: httpAddress }, { gateway: this.#gatewayAt(httpAddress), limits });
  }

  /** Resolves when somebody listens at the address; rejects when nobody does in time. */
  lookFor(httpAddress: string): Promise<void> {
    return this.#lookout.lookFor(httpAddress);
  }

  /** Lets go of connections to all other gateways; reads that run on them come to their end. */
  keepOnly(addresses: readonly MemberAddress[]): void {
    const kept = new Set(addresses.map(({ httpAddress }) => httpAddress));
    for (const [httpAddress, { pool }] of this.#gateways) {
      if (kept.has(httpAddress)) continue;
      pool.closeIdle();
      if (pool.size === 0) this.#gateways.delete(httpAddress);
    }
  }

  /** Lets go of all connections; reads must have ended. */
  close(): void {
    this.#lookout.close();
    this.keepOnly([]);
  }

  #gatewayAt(httpAddress: string): Gateway {
    let gateway = this.#gateways.get(httpAddress);
    if (gateway === undefined) {
      const { clock, connectTimeoutMs, access, mostConnections, idleMs, stalledAfterMs: afterMs } = this.#options;
      const address = socketAddress(httpAddress);
      gateway = {
        pool: new ConnectionPool({ address, clock, connectTimeoutMs, access, mostConnections, idleMs }),
        stalls: { clock, afterMs, lookFor: () => this.lookFor(httpAddress) },
      };
      this.#gateways.set(httpAddress, gateway);
    }
    return gateway;
  }
}
