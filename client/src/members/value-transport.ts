import type { Completion, ValueDescription, ValueEvent, ValueInfo } from "@frontcache/proto";
import { NotSent } from "./http/object-requests.js";
import type { CallLimits, MemberAddress } from "./ports.js";

/** A request about values that has neither bytes nor a stream. `url`: `cache://bucket/key`. */
export type ValueQuestion =
  | { readonly kind: "head" | "delete" | "completion" | "abort"; readonly url: string }
  | { readonly kind: "list"; readonly url: string; readonly bucket: string; readonly prefix: string; readonly after: string }
  | { readonly kind: "begin"; readonly url: string; readonly size: number; readonly description: ValueDescription }
  | { readonly kind: "finalize"; readonly url: string; readonly ttlSeconds: number | undefined }
  | { readonly kind: "lock"; readonly url: string; readonly holder: string; readonly seconds: number }
  | { readonly kind: "unlock"; readonly url: string; readonly holder: string };

/** A page of a list. */
export interface ValuePage {
  readonly values: readonly ValueInfo[];
  readonly isTruncated: boolean;
}

interface ValueAnswers {
  readonly head: ValueInfo;
  /** True: there was a value. */
  readonly delete: boolean;
  readonly completion: Completion;
  readonly abort: undefined;
  readonly list: ValuePage;
  readonly begin: undefined;
  readonly finalize: ValueInfo;
  readonly lock: undefined;
  readonly unlock: undefined;
}

/** The answer to a question. `head`, `completion`, `finalize` and `lock` reject with NOT_FOUND. */
export type ValueAnswerTo<Q extends ValueQuestion> = ValueAnswers[Q["kind"]];

/** Bytes to send: in memory, or as they are made. */
export type ValueBody =
  | Uint8Array
  | { readonly pieces: AsyncIterable<Uint8Array> /** Undefined: unknown. */; readonly size: number | undefined };

/** A request that sends bytes. */
export interface PutValue {
  readonly kind: "put";
  readonly url: string;
  readonly description: ValueDescription;
  readonly ifMissing: boolean;
  readonly whileWritten: "refuse" | "wait" | undefined;
  readonly body: ValueBody;
}

export interface WriteValueRange {
  readonly kind: "writeRange";
  readonly url: string;
  readonly offset: number;
  readonly body: Uint8Array;
}

/** The answer to a request that sends bytes. */
export type SentAnswerTo<S extends PutValue | WriteValueRange> = S extends PutValue ? ValueInfo : Completion;

/** A request for bytes. */
export interface GetValue {
  readonly url: string;
  readonly offset: number;
  /** 0: to the end. */
  readonly length: number;
  /** Reads a value that is still being written. */
  readonly follow: boolean;
}

/** A value whose bytes arrive. Read it by one of both ways, or destroy it. */
export interface OpenedValue {
  readonly info: ValueInfo;
  /** All bytes in memory. */
  whole(): Promise<Buffer>;
  /** The bytes as they arrive, with backpressure. Ending the loop early ends the read. */
  pieces(): AsyncIterable<Buffer>;
  destroy(): void;
}

/** Events as they arrive. */
export interface OpenedMonitor {
  events(): AsyncIterable<ValueEvent>;
  destroy(): void;
}

/** The port of clients' requests about values to one member. All methods reject with a CacheError, Unreachable as in BlockTransport. */
export interface ValueTransport {
  ask<Q extends ValueQuestion>(address: MemberAddress, question: Q, limits: CallLimits): Promise<ValueAnswerTo<Q>>;
  send<S extends PutValue | WriteValueRange>(address: MemberAddress, request: S, limits: CallLimits): Promise<SentAnswerTo<S>>;
  /** Resolves when the member has found the value. */
  open(address: MemberAddress, request: GetValue, limits: CallLimits): Promise<OpenedValue>;
  monitor(address: MemberAddress, of: { bucket: string; prefix: string }, limits: CallLimits): Promise<OpenedMonitor>;
}

/** Uses HTTP for members with an HTTP listener that can be reached, and gRPC for all others. */
export function httpFirstValues(http: ValueTransport, grpc: ValueTransport): ValueTransport {
  const run = async <Result>(address: MemberAddress, by: (transport: ValueTransport) => Promise<Result>): Promise<Result> => {
    if (address.httpAddress === undefined) return await by(grpc);
    try {
      return await by(http);
    } catch (error) {
      if (!(error instanceof NotSent)) throw error;
      return await by(grpc);
    }
  };
  return {
    ask: (address, question, limits) => run(address, (by) => by.ask(address, question, limits)),
    send: (address, request, limits) => run(address, (by) => by.send(address, request, limits)),
    open: (address, request, limits) => run(address, (by) => by.open(address, request, limits)),
    monitor: (address, of, limits) => run(address, (by) => by.monitor(address, of, limits)),
  };
}
