import { isUnreachable } from "@frontcache/client/grpc";
import {
  CacheError,
  type EvictRequest,
  type EvictResponse,
  errorCodeOfGrpc,
  type MemberInfo,
  type ReadRangeRequest,
  type WarmProgress,
  type WarmRequest,
} from "@frontcache/proto";
import type { ServiceError } from "@grpc/grpc-js";
import type { Clock } from "../runtime/clock.js";
import type { MemberChannel, MemberReadCall } from "./member-channel.js";
import { Patience } from "./patience.js";

/** A member could not be reached at all, or its connection broke, or it is starting or leaving: another one may answer. */
export class Unreachable extends CacheError {
  constructor(member: MemberInfo, cause: unknown) {
    super("UNAVAILABLE", `member ${member.name} at ${member.grpcAddress} is out of reach`, { cause });
  }
}

/** The way to one member at one address, and how patient to be with it. */
export class MemberLink {
  /** How long fills wait for this member. */
  readonly patience: Patience;
  #connecting: Promise<void> | undefined;
  #probing: Promise<void> | undefined;

  /** `channel` becomes the link's own: it is closed with it. */
  constructor(
    readonly member: MemberInfo,
    readonly clock: Clock,
    private readonly channel: MemberChannel,
  ) {
    this.patience = new Patience(clock);
  }

  get connected(): boolean {
    return this.channel.connected;
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

  readRange(request: ReadRangeRequest): MemberReadCall {
    return this.channel.readRange(request);
  }

  async evict(request: EvictRequest, timeoutMs: number): Promise<EvictResponse> {
    try {
      return await this.channel.evict(request, timeoutMs);
    } catch (error) {
      throw this.error(error as ServiceError);
    }
  }

  /** Rejects with gRPC's own error, for `error` to tell what it means. */
  warm(request: WarmRequest, signal: AbortSignal): Promise<WarmProgress> {
    return this.channel.warm(request, signal);
  }

  /** What a failed call means that nobody here cancelled: the member is out of reach, or its own error. */
  error(error: ServiceError): CacheError {
    if (isUnreachable(error)) return new Unreachable(this.member, error);
    return new CacheError(errorCodeOfGrpc(error.code), error.details, { cause: error });
  }

  /** Running calls come to their end; new ones fail. */
  close(): void {
    this.channel.close();
  }

  async #connect(): Promise<void> {
    const beganMs = this.clock.monotonicMs();
    await this.channel.connect().catch(this.#outOfReach);
    this.patience.connected(this.clock.monotonicMs() - beganMs);
  }

  async #probe(): Promise<void> {
    await this.connect();
    await this.channel.probe().catch(this.#outOfReach);
  }

  readonly #outOfReach = (cause: unknown): never => {
    throw new Unreachable(this.member, cause);
  };
}
