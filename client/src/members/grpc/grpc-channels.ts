import { readingChannelOptions } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import { type ChannelCredentials, connectivityState, credentials } from "@grpc/grpc-js";
import type { Access, TlsOptions } from "../access.js";
import type { Clock } from "../clock.js";
import { Lookout } from "../lookout.js";
import { type CallLimits, type MemberAddress, Unreachable } from "../transport.js";
import { CacheServiceClient } from "./service.js";

/** How members are reached. */
export interface GrpcChannelsOptions {
  readonly clock: Clock;
  readonly access: Access;
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
  // Members publish no settings in DNS, and are reached straight.
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_http_proxy": 0,
};

/** The calls of one member. */
export type MemberCalls = Pick<CacheServiceClient, "readRange" | "stat" | "evict" | "warm" | "touch" | "watchMembers">;

/** Ways to members, as a transport needs them. */
export interface Channels {
  /** The member's calls, its connection standing. Rejects with Unreachable when it doesn't in time. `subject` begins its message. */
  connected(address: MemberAddress, subject: string, limits: CallLimits): Promise<MemberCalls>;
  /** Resolves when somebody listens at the member's address; rejects when nobody does in time. */
  lookFor(address: MemberAddress): Promise<void>;
  /** Closes all channels but these; calls that run on them come to their end. */
  keepOnly(addresses: readonly MemberAddress[]): void;
  close(): void;
}

/** One channel for each member, made when first needed, and only where somebody listens. */
export class GrpcChannels implements Channels {
  readonly #options: GrpcChannelsOptions;
  readonly #clients = new Map<string, CacheServiceClient>();
  readonly #lookout: Lookout;

  constructor(options: GrpcChannelsOptions) {
    this.#options = options;
    this.#lookout = new Lookout(options.clock, options.connectTimeoutMs);
  }

  async connected(address: MemberAddress, subject: string, limits: CallLimits): Promise<CacheServiceClient> {
    const { grpcAddress } = address;
    const standing = this.#clients.get(grpcAddress);
    if (standing?.getChannel().getConnectivityState(true) === connectivityState.READY) return standing;
    try {
      await untilAborted(this.lookFor(address), limits.signal);
      const client = this.#clientOf(grpcAddress);
      await this.#ready(client, limits.signal);
      return client;
    } catch (cause) {
      if (limits.signal.aborted) throw limits.signal.reason;
      // It would go on connecting by itself, for ever.
      this.#drop(grpcAddress);
      throw new Unreachable(`${subject}: no connection to member ${grpcAddress}`, { cause });
    }
  }

  lookFor({ grpcAddress }: MemberAddress): Promise<void> {
    return this.#lookout.lookFor(grpcAddress);
  }

  keepOnly(addresses: readonly MemberAddress[]): void {
    const kept = new Set(addresses.map(({ grpcAddress }) => grpcAddress));
    for (const grpcAddress of this.#clients.keys()) if (!kept.has(grpcAddress)) this.#drop(grpcAddress);
  }

  close(): void {
    this.#lookout.close();
    this.keepOnly([]);
  }

  #drop(grpcAddress: string): void {
    this.#clients.get(grpcAddress)?.close();
    this.#clients.delete(grpcAddress);
  }

  #clientOf(grpcAddress: string): CacheServiceClient {
    let client = this.#clients.get(grpcAddress);
    if (client === undefined) {
      const tls = this.#options.access.tls();
      const name = tls?.serverName === undefined ? {} : { "grpc.ssl_target_name_override": tls.serverName };
      client = new CacheServiceClient(grpcAddress, channelCredentials(tls), { ...channelOptions, ...name });
      this.#clients.set(grpcAddress, client);
    }
    return client;
  }

  /** Resolves when the channel's connection stands; rejects when it fails, or doesn't stand in time. */
  #ready(client: CacheServiceClient, signal: AbortSignal): Promise<void> {
    const { clock, connectTimeoutMs } = this.#options;
    const channel = client.getChannel();
    let settled = false;
    let cancelTimer: () => void = () => undefined;
    const ready = new Promise<void>((resolve, reject) => {
      cancelTimer = clock.after(connectTimeoutMs, () => reject(new Error(`not connected within ${connectTimeoutMs} ms`)));
      const look = (): void => {
        if (settled) return;
        const state = channel.getConnectivityState(true);
        if (state === connectivityState.READY) resolve();
        else if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN)
          reject(new Error("refused"));
        else channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, look);
      };
      look();
    });
    return untilAborted(ready, signal).finally(() => {
      settled = true;
      cancelTimer();
    });
  }
}

/** A channel's credentials for the TLS options as they are now. */
export function channelCredentials(tls: TlsOptions | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  return credentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert));
}

function pem(text: string | Buffer | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text);
}
