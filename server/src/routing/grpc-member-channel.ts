import { CacheServiceClient } from "@frontcache/client/grpc";
import {
  CacheError,
  type EvictRequest,
  type EvictResponse,
  type MemberInfo,
  type ReadRangeRequest,
  readingChannelOptions,
  type WarmProgress,
  type WarmRequest,
} from "@frontcache/proto";
import { type ChannelCredentials, connectivityState, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { Security } from "../security/member-security.js";
import type { MemberChannel, MemberReadCall } from "./member-channel.js";

/** How long a member may take to accept a connection before it counts as out of reach. */
const CONNECT_TIMEOUT_MS = 1_000;
/** How long a member may take to answer a question that costs it nothing. */
const PROBE_TIMEOUT_MS = 1_000;

/**
 * HTTP/2's window of a read between members: what a slow reader of a forwarded read can make this member hold. It lets
 * 800 MiB/s through at a round trip of 4 ms, more than grpc-js brings.
 */
const WINDOW_BYTES = 4 << 20;

/** The gRPC channel to a member, authenticated as this member. */
export function openGrpcChannel(member: MemberInfo, security: Security): MemberChannel {
  return new GrpcMemberChannel(member, security);
}

class GrpcMemberChannel implements MemberChannel {
  #client: CacheServiceClient;

  constructor(
    private readonly member: MemberInfo,
    private readonly security: Security,
  ) {
    this.#client = this.#open();
  }

  get connected(): boolean {
    return this.#client.getChannel().getConnectivityState(false) === connectivityState.READY;
  }

  async connect(): Promise<void> {
    // After a failed attempt a channel waits up to two minutes before the next; who calls here has waited already.
    if (this.#client.getChannel().getConnectivityState(false) === connectivityState.TRANSIENT_FAILURE) this.#renew();
    await ready(this.#client);
  }

  async probe(): Promise<void> {
    try {
      await this.#ask();
    } catch (cause) {
      // What seems to stand leads nowhere.
      this.#renew();
      throw cause;
    }
  }

  readRange(request: ReadRangeRequest): MemberReadCall {
    return this.#client.readRange(request, this.#shown());
  }

  evict(request: EvictRequest, timeoutMs: number): Promise<EvictResponse> {
    return new Promise((resolve, reject) => {
      this.#client.evict(request, this.#shown(), deadlineIn(timeoutMs), (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });
  }

  warm(request: WarmRequest, signal: AbortSignal): Promise<WarmProgress> {
    const call = this.#client.warm(request, this.#shown());
    const cancel = (): void => call.cancel();
    signal.addEventListener("abort", cancel, { once: true });
    if (signal.aborted) cancel();
    return new Promise<WarmProgress>((resolve, reject) => {
      call.on("data", resolve);
      call.on("error", reject);
      call.on("end", () => reject(new CacheError("INTERNAL", `member ${this.member.name} has no answer to a warming`)));
    }).finally(() => signal.removeEventListener("abort", cancel));
  }

  close(): void {
    this.#client.close();
  }

  /** Who owns some block is a question that a member needs nobody else for. */
  #ask(): Promise<void> {
    return new Promise((resolve, reject) => {
      const answered = (error: ServiceError | null): void => (error === null ? resolve() : reject(error));
      this.#client.lookupOwner({ key: "s3://bucket/key", offset: 0 }, this.#shown(), deadlineIn(PROBE_TIMEOUT_MS), answered);
    });
  }

  #renew(): void {
    if (this.#client.getChannel().getConnectivityState(false) === connectivityState.SHUTDOWN) return;
    this.#client.close();
    this.#client = this.#open();
  }

  /** What every call carries. */
  #shown(): Metadata {
    const { tokens } = this.security;
    const metadata = new Metadata();
    if (tokens !== undefined) metadata.set("authorization", `Bearer ${tokens.own}`);
    return metadata;
  }

  /** By the certificates of this moment. */
  #credentials(): ChannelCredentials {
    const { tls } = this.security;
    if (tls === undefined) return credentials.createInsecure();
    const { cert, key, ca } = tls.current;
    return credentials.createSsl(ca, key, cert);
  }

  #open(): CacheServiceClient {
    const serverName = this.security.tls?.serverName;
    return new CacheServiceClient(this.member.grpcAddress, this.#credentials(), {
      ...readingChannelOptions,
      ...(serverName !== undefined && { "grpc.ssl_target_name_override": serverName }),
      "grpc-node.flow_control_window": WINDOW_BYTES,
      // A pool of its own, so that closing it really closes the connection, and one member's trouble stays its own.
      "grpc.use_local_subchannel_pool": 1,
      // Members publish no settings in DNS, and are reached straight.
      "grpc.service_config_disable_resolution": 1,
      "grpc.enable_http_proxy": 0,
    });
  }
}

function deadlineIn(timeoutMs: number): { deadline: number } {
  return { deadline: Date.now() + timeoutMs };
}

/** grpc-js's own waitForReady goes on where a connection was refused, until the time is over. */
function ready(client: CacheServiceClient): Promise<void> {
  const channel = client.getChannel();
  const deadline = Date.now() + CONNECT_TIMEOUT_MS;
  return new Promise((resolve, reject) => {
    const look = (late?: Error): void => {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) resolve();
      else if (late !== undefined) reject(late);
      else if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN)
        reject(new Error("refused"));
      else channel.watchConnectivityState(state, deadline, look);
    };
    look();
  });
}
