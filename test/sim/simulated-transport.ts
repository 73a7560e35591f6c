import type {
  BlockId,
  EvictResponse,
  MemberList,
  ReadRangeResponse,
  StatResponse,
  TouchResponse,
  WarmProgress,
} from "@frontcache/proto";
import { AnswerWriter } from "../../client/src/answer-writer.js";
import type { Clock } from "../../client/src/clock.js";
import { receiveAll } from "../../client/src/grpc-calls.js";
import { StallGuard } from "../../client/src/stall-guard.js";
import {
  type CallLimits,
  type Evicted,
  type EvictSelector,
  type MemberAddress,
  type ObjectStat,
  OutOfReach,
  type ReadRequest,
  type ReadTarget,
  type Transport,
  type WarmOrder,
  type WatchEnd,
} from "../../client/src/transport.js";
import type { Connection } from "./simulated-connection.js";
import type { SimulatedNetwork } from "./simulated-network.js";

/** As the real client's defaults. */
const CONNECT_TIMEOUT_MS = 1_000;
const STALLED_AFTER_MS = 1_500;

/** A client's way to members over the simulated network: what GrpcTransport does, without gRPC. */
export class SimulatedTransport implements Transport {
  readonly #connections = new Map<string, Connection>();

  constructor(
    private readonly network: SimulatedNetwork,
    private readonly clock: Clock,
    private readonly name: string,
  ) {}

  async read(address: MemberAddress, request: ReadRequest, target: ReadTarget, limits: CallLimits): Promise<void> {
    const { url, offset, length, version } = request;
    const message = { key: url, offset, length, version, forwarded: false, cachedOnly: false };
    const connection = await this.#connected(address, url, limits);
    const call = connection.call<ReadRangeResponse>("readRange", message);
    const writer = new AnswerWriter(target, `${url} at offset ${offset}`);
    const guard = this.#guard(address, call);
    const onResponse = (response: ReadRangeResponse): void => {
      guard.progress();
      writer.write(response);
    };
    await receiveAll<ReadRangeResponse>(call as never, onResponse, { address, subject: url, limits }).finally(() => guard.end());
    writer.end();
  }

  async stat(address: MemberAddress, url: string, version: string, limits: CallLimits): Promise<ObjectStat> {
    const answer = await this.#ask<StatResponse>(address, "stat", { key: url, version }, url, limits);
    return { version: answer.version, objectSize: answer.objectSize, heldBytes: answer.heldBytes };
  }

  async evict(address: MemberAddress, selector: EvictSelector, limits: CallLimits): Promise<Evicted> {
    const prefix = "prefix" in selector;
    const key = prefix ? selector.prefix : selector.url;
    const request = { key, version: selector.version ?? "", prefix, forwarded: false };
    return this.#ask<EvictResponse>(address, "evict", request, key, limits);
  }

  async warm(
    address: MemberAddress,
    { urls, version, concurrency, dryRun }: WarmOrder,
    onProgress: (progress: WarmProgress) => void,
    limits: CallLimits,
  ): Promise<void> {
    const subject = urls[0]!;
    const connection = await this.#connected(address, subject, limits);
    const request = { keys: [...urls], version, concurrency, dryRun, block: undefined };
    const call = connection.call<WarmProgress>("warm", request);
    const guard = this.#guard(address, call);
    const onMessage = (progress: WarmProgress): void => {
      guard.progress();
      onProgress(progress);
    };
    await receiveAll<WarmProgress>(call as never, onMessage, { address, subject, limits }).finally(() => guard.end());
  }

  async touch(address: MemberAddress, blocks: readonly BlockId[], limits: CallLimits): Promise<number> {
    const request = { blocks: blocks.map(({ url: key, version, offset }) => ({ key, version, offset })) };
    return (await this.#ask<TouchResponse>(address, "touch", request, "a touch of blocks", limits)).held;
  }

  async watchMembers(address: MemberAddress, onMembers: (list: MemberList) => void, limits: CallLimits): Promise<WatchEnd> {
    const subject = "the member list";
    const connection = await this.#connected(address, subject, limits);
    await receiveAll<MemberList>(connection.call("watchMembers", {}) as never, onMembers, { address, subject, limits });
    return "ended";
  }

  async probe(address: MemberAddress, limits: CallLimits): Promise<void> {
    await this.#connected(address, "a probe", limits);
  }

  keepOnly(addresses: readonly MemberAddress[]): void {
    const kept = new Set(addresses.map(({ grpcAddress }) => grpcAddress));
    for (const address of this.#connections.keys()) if (!kept.has(address)) this.#connections.delete(address);
  }

  async close(): Promise<void> {
    this.#connections.clear();
  }

  async #ask<Response>(
    address: MemberAddress,
    method: "stat" | "evict" | "touch",
    request: object,
    subject: string,
    limits: CallLimits,
  ): Promise<Response> {
    const connection = await this.#connected(address, subject, limits);
    let answer: Response | undefined;
    const onAnswer = (response: Response): void => {
      answer = response;
    };
    await receiveAll<Response>(connection.call(method, request) as never, onAnswer, { address, subject, limits });
    return answer!;
  }

  async #connected({ grpcAddress }: MemberAddress, subject: string, limits: CallLimits): Promise<Connection> {
    const standing = this.#connections.get(grpcAddress);
    if (standing?.open === true) return standing;
    try {
      const connection = await this.network.connect(this.name, grpcAddress, CONNECT_TIMEOUT_MS);
      this.#connections.set(grpcAddress, connection);
      return connection;
    } catch (cause) {
      if (limits.ended !== undefined) throw limits.ended;
      throw new OutOfReach(`${subject}: no connection to member ${grpcAddress}`, { cause });
    }
  }

  #guard(address: MemberAddress, call: { cancel(): void }): StallGuard {
    const lookFor = (): Promise<void> => this.#lookFor(address);
    return new StallGuard({ clock: this.clock, afterMs: STALLED_AFTER_MS, lookFor }, () => call.cancel());
  }

  async #lookFor({ grpcAddress }: MemberAddress): Promise<void> {
    (await this.network.connect(this.name, grpcAddress, CONNECT_TIMEOUT_MS)).break("it was only looked for");
  }
}
