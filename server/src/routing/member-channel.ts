import type {
  EvictRequest,
  EvictResponse,
  MemberInfo,
  ReadRangeRequest,
  ReadRangeResponse,
  WarmProgress,
  WarmRequest,
} from "@frontcache/proto";
import type { ClientReadableStream } from "@grpc/grpc-js";

/** A running read at another member, as grpc-js tells of it: `metadata`, `data`, then `end` or `error` with a ServiceError. */
export type MemberReadCall = Pick<ClientReadableStream<ReadRangeResponse>, "on" | "pause" | "resume" | "cancel">;

/**
 * One way to one member's listener, as a port, so that a simulated run owns the network. Calls that fail do so with gRPC's
 * ServiceError; what it means, MemberLink knows.
 */
export interface MemberChannel {
  readonly connected: boolean;
  /** Resolves when connected; rejects when refused, or when it takes too long. */
  connect(): Promise<void>;
  /** Resolves when the member answers a question; rejects when it does not, and what seemed to stand is taken down. */
  probe(): Promise<void>;
  readRange(request: ReadRangeRequest): MemberReadCall;
  evict(request: EvictRequest, timeoutMs: number): Promise<EvictResponse>;
  /** Has the member warm one block; an aborted signal cancels it. */
  warm(request: WarmRequest, signal: AbortSignal): Promise<WarmProgress>;
  /** Running calls come to their end; new ones fail. */
  close(): void;
}

/** Opens the channel to a member at its address; nothing is connected before it is needed. */
export type OpenChannel = (member: MemberInfo) => MemberChannel;
