import { type BlockId, CacheError, canBeEntityTag, type Membership, type WarmProgress } from "@frontcache/proto";
import type { Gateways } from "./gateways.js";
import type { LandingTransport } from "./http/landing-transport.js";
import { Unintelligible } from "./http/unintelligible.js";
import { ResumableTarget } from "./resumable-target.js";
import {
  type CallLimits,
  type Evicted,
  type EvictSelector,
  type MemberAddress,
  type ObjectStat,
  type ReadRequest,
  type ReadTarget,
  type Transport,
  Unreachable,
  type WarmOrder,
  type WatchEnd,
} from "./transport.js";

/** What reads by HTTP need. */
export type HttpReads = Pick<LandingTransport, "read" | "keepOnly" | "close">;

/** Reads bytes from gateways; all else goes by gRPC, as does nothing that is a read: a member without a gateway is out of reach. */
export class HttpTransport implements Transport {
  constructor(
    protected readonly grpc: Transport,
    protected readonly http: HttpReads,
  ) {}

  read(address: MemberAddress, request: ReadRequest, target: ReadTarget, limits: CallLimits): Promise<void> {
    return this.http.read(address, request, target, limits);
  }

  stat(address: MemberAddress, url: string, version: string, limits: CallLimits): Promise<ObjectStat> {
    return this.grpc.stat(address, url, version, limits);
  }

  evict(address: MemberAddress, selector: EvictSelector, limits: CallLimits): Promise<Evicted> {
    return this.grpc.evict(address, selector, limits);
  }

  warm(
    address: MemberAddress,
    order: WarmOrder,
    onProgress: (progress: WarmProgress) => void,
    limits: CallLimits,
  ): Promise<void> {
    return this.grpc.warm(address, order, onProgress, limits);
  }

  touch(address: MemberAddress, blocks: readonly BlockId[], limits: CallLimits): Promise<number> {
    return this.grpc.touch(address, blocks, limits);
  }

  watchMembers(
    address: MemberAddress,
    onMembers: (message: Parameters<typeof Membership.fromMessage>[0]) => void,
    limits: CallLimits,
  ): Promise<WatchEnd> {
    return this.grpc.watchMembers(address, onMembers, limits);
  }

  probe(address: MemberAddress, limits: CallLimits): Promise<void> {
    return this.grpc.probe(address, limits);
  }

  keepOnly(addresses: readonly MemberAddress[]): void {
    this.http.keepOnly(addresses);
    this.grpc.keepOnly(addresses);
  }

  async close(): Promise<void> {
    this.http.close();
    await this.grpc.close();
  }
}

/**
 * Reads bytes from gateways where members have one, and by gRPC from members that have none, or none that can be used. Where
 * an answer by HTTP breaks off, gRPC goes on behind its last byte: it knows whether the member is gone, or its origin.
 */
export class HttpFirstTransport extends HttpTransport {
  constructor(
    grpc: Transport,
    http: HttpReads,
    private readonly gateways: Gateways,
  ) {
    super(grpc, http);
  }

  override async read(address: MemberAddress, request: ReadRequest, target: ReadTarget, limits: CallLimits): Promise<void> {
    const { httpAddress } = address;
    const byHttp =
      httpAddress !== undefined &&
      (request.version === "" || canBeEntityTag(request.version)) &&
      this.gateways.usable(httpAddress);
    if (!byHttp) return this.grpc.read(address, request, target, limits);
    const resumable = new ResumableTarget(request, target);
    try {
      await this.http.read(address, request, resumable, limits);
      this.gateways.worked(httpAddress);
    } catch (error) {
      if (limits.ended !== undefined || !this.#mayGoOn(error, httpAddress, resumable.opened)) throw error;
      await this.grpc.read(address, resumable.rest(), resumable, limits);
    }
  }

  override keepOnly(addresses: readonly MemberAddress[]): void {
    super.keepOnly(addresses);
    this.gateways.keepOnly(new Set(addresses.map(({ httpAddress }) => httpAddress)));
  }

  /** Whether gRPC may do better at the same member; remembers what the failure says of its gateway. */
  #mayGoOn(error: unknown, httpAddress: string, opened: boolean): boolean {
    const unintelligible = error instanceof Unintelligible;
    const outOfReach = error instanceof Unreachable;
    // An answer that breaks off is mostly one whose origin failed: the gateway itself may be well.
    if (unintelligible || (outOfReach && !opened)) this.gateways.failed(httpAddress);
    else if (CacheError.from(error).code !== "INTERNAL") this.gateways.worked(httpAddress);
    // What an unintelligible answer brought can't be trusted: the read must begin again.
    return outOfReach || (unintelligible && !opened);
  }
}
