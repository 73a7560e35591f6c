import {
  type BlockId,
  CacheError,
  type EvictResponse,
  type MemberList,
  type ReadRangeResponse,
  type StatResponse,
  type TouchResponse,
  type WarmProgress,
} from "@frontcache/proto";
import { type Metadata, status } from "@grpc/grpc-js";
import type { Access } from "../access.js";
import type { Clock } from "../clock.js";
import { StallGuard } from "../silence-watch.js";
import type {
  CallLimits,
  Evicted,
  EvictSelector,
  MemberAddress,
  ObjectStat,
  ReadRequest,
  ReadTarget,
  Transport,
  WarmOrder,
  WatchEnd,
} from "../transport.js";
import { AnswerWriter } from "./answer-writer.js";
import { callMetadata } from "./call-metadata.js";
import { callOptions, type GrpcCall, receiveAll, receiveOne } from "./grpc-calls.js";
import type { Channels } from "./grpc-channels.js";

/** How long a read may bring nothing before it is made sure that its member is still there. */
const STALLED_AFTER_MS = 1_500;

export interface GrpcTransportOptions {
  readonly clock: Clock;
  /** What calls show of the client. */
  readonly access: Access;
}

/** Talks gRPC with members. The bytes of a read are copied once, from the message received into the target. */
export class GrpcTransport implements Transport {
  readonly #channels: Channels;
  readonly #clock: Clock;
  readonly #access: Access;

  /** Closes the channels with itself. */
  constructor(channels: Channels, { clock, access }: GrpcTransportOptions) {
    this.#channels = channels;
    this.#clock = clock;
    this.#access = access;
  }

  async read(address: MemberAddress, request: ReadRequest, target: ReadTarget, limits: CallLimits): Promise<void> {
    const { url, offset, length, version } = request;
    const call = await this.#call(address, url, limits);
    const message = { key: url, offset, length, version, forwarded: false, cachedOnly: false };
    const writer = new AnswerWriter(target, `${url} at offset ${offset}`);
    const stream = call.client.readRange(message, this.#shown(), callOptions(limits));
    const guard = this.#guard(address, () => stream.cancel());
    const onResponse = (response: ReadRangeResponse): void => {
      guard.progress();
      writer.write(response);
    };
    await receiveAll(stream, onResponse, call).finally(() => guard.end());
    writer.end();
  }

  async stat(address: MemberAddress, url: string, version: string, limits: CallLimits): Promise<ObjectStat> {
    const call = await this.#call(address, url, limits);
    const { contentType, lastModifiedMs, objectSize, cachedBytes, ...answer } = await receiveOne<StatResponse>(
      (callback) => call.client.stat({ key: url, version }, this.#shown(), callOptions(limits), callback),
      call,
    );
    const known = { ...(contentType === "" ? {} : { contentType }), ...(lastModifiedMs === 0 ? {} : { lastModifiedMs }) };
    return { version: answer.version, objectSize, cachedBytes, ...known };
  }

  async evict(address: MemberAddress, selector: EvictSelector, limits: CallLimits): Promise<Evicted> {
    const prefix = "prefix" in selector;
    const key = prefix ? selector.prefix : selector.url;
    const call = await this.#call(address, key, limits);
    const request = { key, version: selector.version ?? "", prefix, forwarded: false };
    const { blocks, bytes } = await receiveOne<EvictResponse>(
      (callback) => call.client.evict(request, this.#shown(), callOptions(limits), callback),
      call,
    );
    return { blocks, bytes };
  }

  async warm(
    address: MemberAddress,
    order: WarmOrder,
    onProgress: (progress: WarmProgress) => void,
    limits: CallLimits,
  ): Promise<void> {
    const { urls, prefixes, version, concurrency, dryRun } = order;
    const call = await this.#call(address, urls[0] ?? prefixes[0]!, limits);
    const request = { keys: [...urls], prefixes: [...prefixes], version, concurrency, dryRun, block: undefined };
    const stream = call.client.warm(request, this.#shown(), callOptions(limits));
    const guard = this.#guard(address, () => stream.cancel());
    const onMessage = (progress: WarmProgress): void => {
      guard.progress();
      onProgress(progress);
    };
    await receiveAll(stream, onMessage, call).finally(() => guard.end());
  }

  async touch(address: MemberAddress, blocks: readonly BlockId[], limits: CallLimits): Promise<number> {
    const call = await this.#call(address, "a touch of blocks", limits);
    const request = { blocks: blocks.map(({ url: key, version, offset }) => ({ key, version, offset })) };
    const { cached } = await receiveOne<TouchResponse>(
      (callback) => call.client.touch(request, this.#shown(), callOptions(limits), callback),
      call,
    );
    return cached;
  }

  async watchMembers(address: MemberAddress, onMembers: (list: MemberList) => void, limits: CallLimits): Promise<WatchEnd> {
    const call = await this.#call(address, "the member list", limits);
    try {
      await receiveAll(call.client.watchMembers({}, this.#shown(), callOptions(limits)), onMembers, call);
      return "ended";
    } catch (error) {
      if (error instanceof CacheError && isUnimplemented(error.cause)) return "unsupported";
      throw error;
    }
  }

  async probe(address: MemberAddress, limits: CallLimits): Promise<void> {
    await this.#channels.connected(address, "a probe", limits);
  }

  keepOnly(addresses: readonly MemberAddress[]): void {
    this.#channels.keepOnly(addresses);
  }

  async close(): Promise<void> {
    this.#channels.close();
  }

  #guard(address: MemberAddress, onGone: () => void): StallGuard {
    const lookFor = (): Promise<void> => this.#channels.lookFor(address);
    return new StallGuard({ clock: this.#clock, afterMs: STALLED_AFTER_MS, lookFor }, onGone);
  }

  #shown(): Metadata {
    return callMetadata(this.#access);
  }

  async #call(address: MemberAddress, subject: string, limits: CallLimits): Promise<GrpcCall> {
    return { client: await this.#channels.connected(address, subject, limits), address, subject, limits };
  }
}

function isUnimplemented(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === status.UNIMPLEMENTED;
}
