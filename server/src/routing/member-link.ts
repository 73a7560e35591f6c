import {
  CacheError,
  CacheServiceClient,
  type EvictRequest,
  type EvictResponse,
  errorCodeOfGrpc,
  isOutOfReach,
  type MemberInfo,
  type ReadRangeRequest,
  type ReadRangeResponse,
  readingChannelOptions,
} from "@frontcache/proto";
import { type ClientReadableStream, connectivityState, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { Clock } from "../runtime/clock.js";
import { Patience } from "./patience.js";

/** How long a member may take to accept a connection before it counts as out of reach. */
const CONNECT_TIMEOUT_MS = 1_000;
/** How long a member may take to answer a question that costs it nothing. */
const PROBE_TIMEOUT_MS = 1_000;

/**
 * HTTP/2's window of a read between members: what a slow reader of a forwarded read can make this member hold. It lets
 * 800 MiB/s through at a round trip of 4 ms, more than grpc-js brings.
 */
const WINDOW_BYTES = 4 << 20;

/** A member could not be reached at all, or its connection broke, or it is starting or leaving: another one may answer. */
export class OutOfReach extends CacheError {
  constructor(member: MemberInfo, cause: unknown) {
    super("UNAVAILABLE", `member ${member.name} at ${member.grpcAddress} is out of reach`, { cause });
  }
}

/** The gRPC channel to one member at one address. */
export class MemberLink {
  /** How long fills wait for this member. */
  readonly patience: Patience;
  #client: CacheServiceClient;
  #connecting: Promise<void> | undefined;
  #probing: Promise<void> | undefined;

  constructor(
    readonly member: MemberInfo,
    readonly clock: Clock,
  ) {
    this.patience = new Patience(clock);
    this.#client = this.#open();
  }

  get connected(): boolean {
    return this.#client.getChannel().getConnectivityState(false) === connectivityState.READY;
  }

  /** Resolves when connected; rejects with OutOfReach when refused, or when it takes too long. Harmless when repeated. */
  connect(): Promise<void> {
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  /**
   * Resolves when the member answers a question that it needs nobody else for; rejects with OutOfReach. A connection alone
   * proves nothing: it seems to stand for long after the member's machine is gone, or the process is stuck.
   */
  probe(): Promise<void> {
    this.#probing ??= this.#probe().finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  readRange(request: ReadRangeRequest): ClientReadableStream<ReadRangeResponse> {
    return this.#client.readRange(request);
  }

  evict(request: EvictRequest, timeoutMs: number): Promise<EvictResponse> {
    return new Promise((resolve, reject) => {
      this.#client.evict(request, new Metadata(), deadlineIn(timeoutMs), (error, response) => {
        if (error === null) resolve(response);
        else reject(this.error(error));
      });
    });
  }

  /** What a failed call means that nobody here cancelled: the member is out of reach, or its own error. */
  error(error: ServiceError): CacheError {
    if (isOutOfReach(error)) return new OutOfReach(this.member, error);
    return new CacheError(errorCodeOfGrpc(error.code), error.details, { cause: error });
  }

  /** Running calls come to their end; new ones fail. */
  close(): void {
    this.#client.close();
  }

  async #connect(): Promise<void> {
    // After a failed attempt a channel waits up to two minutes before the next; who calls here has waited already.
    if (this.#client.getChannel().getConnectivityState(false) === connectivityState.TRANSIENT_FAILURE) this.#renew();
    const beganMs = this.clock.monotonicMs();
    try {
      await ready(this.#client);
    } catch (cause) {
      throw new OutOfReach(this.member, cause);
    }
    this.patience.connected(this.clock.monotonicMs() - beganMs);
  }

  async #probe(): Promise<void> {
    await this.connect();
    try {
      await new Promise<void>((resolve, reject) => {
        this.#client.lookupOwner({ key: "s3://bucket/key", offset: 0 }, new Metadata(), deadlineIn(PROBE_TIMEOUT_MS), (error) =>
          error === null ? resolve() : reject(error),
        );
      });
    } catch (cause) {
      // What seems to stand leads nowhere.
      this.#renew();
      throw new OutOfReach(this.member, cause);
    }
  }

  #renew(): void {
    if (this.#client.getChannel().getConnectivityState(false) === connectivityState.SHUTDOWN) return;
    this.#client.close();
    this.#client = this.#open();
  }

  #open(): CacheServiceClient {
    return new CacheServiceClient(this.member.grpcAddress, credentials.createInsecure(), {
      ...readingChannelOptions,
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
