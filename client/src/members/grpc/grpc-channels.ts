import { CacheError, readingChannelOptions } from "@frontcache/proto";
import { SingleFlight, untilAborted } from "@frontcache/proto/runtime";
import { type ChannelCredentials, connectivityState, credentials } from "@grpc/grpc-js";
import type { Access, TlsOptions } from "../access.js";
import type { Clock } from "../clock.js";
import { ConnectionFailure, checkConnection } from "../connection-failure.js";
import { type CallLimits, type MemberAddress, Unreachable } from "../ports.js";
import { memberCredentials } from "./member-credentials.js";
import { CacheServiceClient, ValueServiceClient } from "./service.js";

/** Options of gRPC channels to members. */
export interface GrpcChannelsOptions {
  readonly clock: Clock;
  readonly access: Access;
  /** Connection timeout after which the member is unreachable, milliseconds. */
  readonly connectTimeoutMs: number;
  /** HTTP/2 window of a stream, bytes: maximum bytes buffered for a paused receiver. Absent: 16 MiB. */
  readonly windowBytes?: number | undefined;
  /** As in SilenceRule. Absent: no. */
  readonly probesEarly?: boolean | undefined;
}

/**
 * Several channels to a member, or several streams per block, gained nothing in measurements: reads are limited by
 * the receiver's single thread, not by the connection.
 */
const channelOptions = {
  ...readingChannelOptions,
  // Not shared in the process, so closing a channel closes its connection.
  "grpc.use_local_subchannel_pool": 1,
  // Members publish no settings in DNS, and need no proxy.
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_http_proxy": 0,
};

/** The calls of one member. */
export type ServiceCalls = Pick<
  CacheServiceClient,
  | "readRange"
  | "stat"
  | "evict"
  | "warm"
  | "touch"
  | "watchMembers"
  | "lookupOwner"
  | "lookUpRecords"
  | "renewLeases"
  | "versionChanged"
  | "handOver"
  | "callValues"
  | "watchValues"
>;

/** The port of channels to members; the simulation replaces it. */
export interface Channels {
  /** Returns the member's calls if it is connected. */
  ready(address: MemberAddress): ServiceCalls | undefined;
  /**
   * Resolves with the member's calls when it is connected. Rejects with Unreachable after a timeout; its message begins with
   * `subject`.
   */
  connected(address: MemberAddress, subject: string, limits: CallLimits): Promise<ServiceCalls>;
  /** Closes the channel to a member; the next call reconnects. */
  drop(grpcAddress: string): void;
  /** Closes all other channels after their running calls. */
  keepOnly(grpcAddresses: ReadonlySet<string>): void;
  close(): void;
}

/** One channel per member, created when first needed, and only if its address accepts connections. */
export class GrpcChannels implements Channels {
  readonly #options: GrpcChannelsOptions;
  readonly #clients = new Map<string, CacheServiceClient>();
  readonly #values = new WeakMap<CacheServiceClient, ValueServiceClient>();
  /** Causes of failed member handshakes, which gRPC does not report. */
  readonly #handshakeFailures = new Map<string, Error>();
  readonly #checks = new SingleFlight<string, void>();
  readonly #life = new AbortController();

  constructor(options: GrpcChannelsOptions) {
    this.#options = options;
  }

  ready({ grpcAddress }: MemberAddress): CacheServiceClient | undefined {
    const client = this.#clients.get(grpcAddress);
    return client?.getChannel().getConnectivityState(true) === connectivityState.READY ? client : undefined;
  }

  connected({ grpcAddress }: MemberAddress, subject: string, limits: CallLimits): Promise<CacheServiceClient> {
    return this.#connect(grpcAddress, subject, limits, true);
  }

  async #connect(grpcAddress: string, subject: string, limits: CallLimits, mayRepeat: boolean): Promise<CacheServiceClient> {
    const known = this.ready({ grpcAddress });
    if (known !== undefined) return known;
    let client: CacheServiceClient | undefined;
    try {
      await untilAborted(this.#check(grpcAddress), limits.signal);
      client = this.#clientOf(grpcAddress);
      await this.#ready(client, grpcAddress, limits.signal);
      return client;
    } catch (error) {
      if (limits.signal.aborted) throw limits.signal.reason;
      // Another call has closed the channel meanwhile: this call uses the next channel. Only once, because calls to a member that
      // does not respond would close each other's channels in turn.
      const isDropped = client !== undefined && this.#clients.get(grpcAddress) !== client;
      if (isDropped && mayRepeat && !this.#life.signal.aborted) return this.#connect(grpcAddress, subject, limits, false);
      // Otherwise it would keep reconnecting forever.
      this.drop(grpcAddress);
      const cause = ConnectionFailure.of(grpcAddress, error);
      throw new Unreachable(`${subject}: ${cause.message}`, { cause, isGone: true, wasSent: false });
    }
  }

  /** Returns the calls of ValueService on the channel to a member; undefined: no channel to it is open. */
  valuesAt(grpcAddress: string): ValueServiceClient | undefined {
    const client = this.#clients.get(grpcAddress);
    if (client === undefined) return undefined;
    let values = this.#values.get(client);
    if (values === undefined) {
      // The channel has the credentials.
      values = new ValueServiceClient(grpcAddress, credentials.createInsecure(), { channelOverride: client.getChannel() });
      this.#values.set(client, values);
    }
    return values;
  }

  drop(grpcAddress: string): void {
    this.#clients.get(grpcAddress)?.close();
    this.#clients.delete(grpcAddress);
    this.#handshakeFailures.delete(grpcAddress);
  }

  keepOnly(grpcAddresses: ReadonlySet<string>): void {
    for (const grpcAddress of this.#clients.keys()) if (!grpcAddresses.has(grpcAddress)) this.drop(grpcAddress);
  }

  close(): void {
    this.#life.abort(new CacheError("CANCELLED", "the connections were closed"));
    this.keepOnly(new Set());
  }

  #check(grpcAddress: string): Promise<void> {
    const { clock, connectTimeoutMs: timeoutMs, access } = this.#options;
    const { signal } = this.#life;
    return this.#checks.run(grpcAddress, async () =>
      checkConnection(grpcAddress, { clock, timeoutMs, tls: access.tls(), signal }),
    );
  }

  #clientOf(grpcAddress: string): CacheServiceClient {
    let client = this.#clients.get(grpcAddress);
    if (client === undefined) {
      const { access, windowBytes } = this.#options;
      const tls = access.tls();
      const credentials = memberCredentials(channelCredentials(tls), {
        ...this.#options,
        hostPort: grpcAddress,
        onFailed: (error) => this.#handshakeFailures.set(grpcAddress, error),
      });
      client = new CacheServiceClient(grpcAddress, credentials, {
        ...channelOptions,
        ...(tls?.serverName !== undefined && { "grpc.ssl_target_name_override": tls.serverName }),
        ...(windowBytes !== undefined && { "grpc-node.flow_control_window": windowBytes }),
      });
      this.#clients.set(grpcAddress, client);
    }
    return client;
  }

  /**
   * The port accepts connections, and with TLS handshakes, but no gRPC. TLS 1.3 reports a refused client certificate only
   * afterwards.
   */
  #whyNotReady(): string {
    const tls = this.#options.access.tls();
    if (tls === undefined) return "the port does not speak gRPC in plain text (does the member require TLS?)";
    if (tls.cert === undefined) return "the port does not speak gRPC, or the member requires a client certificate";
    return "the port does not speak gRPC, or the member refuses the client certificate";
  }

  /** Resolves when the channel is connected; rejects if that fails or takes too long. */
  #ready(client: CacheServiceClient, grpcAddress: string, signal: AbortSignal): Promise<void> {
    const { clock, connectTimeoutMs } = this.#options;
    const channel = client.getChannel();
    let settled = false;
    let cancelTimer: () => void = () => undefined;
    const ready = new Promise<void>((resolve, reject) => {
      cancelTimer = clock.after(connectTimeoutMs, () => {
        reject(new ConnectionFailure(grpcAddress, `no answer by gRPC within ${connectTimeoutMs} ms`));
      });
      const look = (): void => {
        if (settled) return;
        const state = channel.getConnectivityState(true);
        if (state === connectivityState.READY) resolve();
        else if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN)
          reject(this.#handshakeFailures.get(grpcAddress) ?? new ConnectionFailure(grpcAddress, this.#whyNotReady()));
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

/** Returns a channel's credentials for the current TLS options. */
export function channelCredentials(tls: TlsOptions | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  return credentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert));
}

function pem(text: string | Buffer | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text);
}
