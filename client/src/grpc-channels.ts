import { CacheServiceClient, readingChannelOptions } from "@frontcache/proto";
import { type ChannelCredentials, connectivityState } from "@grpc/grpc-js";
import type { Clock } from "./clock.js";
import { type CallLimits, type MemberAddress, OutOfReach } from "./transport.js";

/** How members are reached. */
export interface GrpcChannelsOptions {
  readonly clock: Clock;
  readonly credentials: ChannelCredentials;
  /** How long a connection may take to stand before the member counts as out of reach, milliseconds. */
  readonly connectTimeoutMs: number;
}

/**
 * Several channels to a member, or a block cut into several streams, gained nothing when measured: a read costs the time of
 * the client's one thread, not of the connection.
 */
const channelOptions = {
  ...readingChannelOptions,
  // Not shared with others in the process: closing a channel closes its connection.
  "grpc.use_local_subchannel_pool": 1,
  // A member that comes back is found soon; who waits meanwhile reads from another one.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  // Members publish no settings in DNS.
  "grpc.service_config_disable_resolution": 1,
};

/** One channel for each member, made when first needed. */
export class GrpcChannels {
  readonly #options: GrpcChannelsOptions;
  readonly #clients = new Map<string, CacheServiceClient>();

  constructor(options: GrpcChannelsOptions) {
    this.#options = options;
  }

  /** The member's client, its connection standing. Rejects with OutOfReach when it doesn't in time. `subject` begins its message. */
  async connected(address: MemberAddress, subject: string, limits: CallLimits): Promise<CacheServiceClient> {
    const client = this.#clientOf(address);
    if (client.getChannel().getConnectivityState(true) !== connectivityState.READY)
      await this.#ready(client, limits, address, subject);
    return client;
  }

  /** Closes all channels but these. */
  keepOnly(addresses: readonly MemberAddress[]): void {
    const kept = new Set(addresses.map(({ grpcAddress }) => grpcAddress));
    for (const [grpcAddress, client] of this.#clients) {
      if (kept.has(grpcAddress)) continue;
      this.#clients.delete(grpcAddress);
      client.close();
    }
  }

  #clientOf({ grpcAddress }: MemberAddress): CacheServiceClient {
    let client = this.#clients.get(grpcAddress);
    if (client === undefined) {
      client = new CacheServiceClient(grpcAddress, this.#options.credentials, channelOptions);
      this.#clients.set(grpcAddress, client);
    }
    return client;
  }

  #ready(client: CacheServiceClient, limits: CallLimits, { grpcAddress }: MemberAddress, subject: string): Promise<void> {
    const { clock, connectTimeoutMs } = this.#options;
    const channel = client.getChannel();
    return new Promise((resolve, reject) => {
      let settled = false;
      const settle = (then: () => void): void => {
        settled = true;
        cancelTimer();
        limits.signal.removeEventListener("abort", onAbort);
        then();
      };
      const lost = (): void => settle(() => reject(new OutOfReach(`${subject}: no connection to member ${grpcAddress}`)));
      const onAbort = (): void => settle(() => reject(limits.signal.reason));
      const look = (): void => {
        if (settled) return;
        const state = channel.getConnectivityState(true);
        if (state === connectivityState.READY) settle(resolve);
        else if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) lost();
        else channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, look);
      };
      const cancelTimer = clock.after(connectTimeoutMs, lost);
      limits.signal.addEventListener("abort", onAbort, { once: true });
      if (limits.signal.aborted) onAbort();
      look();
    });
  }
}
