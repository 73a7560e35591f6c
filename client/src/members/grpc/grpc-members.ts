import {
  type BlockId,
  CacheError,
  type EvictResponse,
  type HandedOverRecord,
  type HandOverRequest,
  type HandOverResponse,
  infoOfStat,
  type LookUpRecordsRequest,
  type LookUpRecordsResponse,
  type MemberList,
  ON_BEHALF_OF_HEADER,
  ORIGIN_REQUESTS_HEADER,
  REPEATED_HEADER,
  type ReadRangeResponse,
  type RecordAnswer,
  type RenewLeasesRequest,
  type RenewLeasesResponse,
  type StatResponse,
  type TouchResponse,
  type ValueAnswer,
  type ValueCall,
  type ValueEventMessage,
  type WarmProgress,
  type WatchValuesRequest,
} from "@frontcache/proto";
import type { Metadata } from "@grpc/grpc-js";
import type { Access } from "../access.js";
import type { Clock } from "../clock.js";
import type {
  BlockTransport,
  CallLimits,
  Evicted,
  EvictSelector,
  MemberAddress,
  MemberCalls,
  ObjectCalls,
  ObjectStat,
  ReadTarget,
  StatQuestion,
  ValueCalls,
  WarmOrder,
  WatchEnd,
} from "../ports.js";
import { Unreachable } from "../ports.js";
import { RunningCall } from "../running-call.js";
import { afterTicks, SilenceWatch, silentMsOf } from "../silence-watch.js";
import { AnswerWriter } from "./answer-writer.js";
import { callMetadata, descriptionFrom } from "./call-metadata.js";
import { callOptions, frozenMember, type GrpcCall, isUnimplemented, receiveAll, receiveOne, StreamWait } from "./grpc-call.js";
import type { Channels, ServiceCalls } from "./grpc-channels.js";

export interface GrpcMembersOptions {
  readonly clock: Clock;
  /** Authentication of calls. */
  readonly access: Access;
  /** Time in which a member must accept a connection; half of it is the timeout of its answer to a probe. Absent: 1 s. */
  readonly connectTimeoutMs?: number | undefined;
  /** As in SilenceRule. Absent: no. */
  readonly probesEarly?: boolean | undefined;
}

/** Calls to members over gRPC. The bytes of a read are copied once, from the received message into the target. */
export class GrpcMembers implements BlockTransport, MemberCalls, ObjectCalls, ValueCalls {
  readonly #channels: Channels;
  readonly #clock: Clock;
  readonly #access: Access;
  readonly #probesEarly: boolean;
  readonly #silentMs: number;
  /** Silence watches by gRPC address. */
  readonly #silences = new Map<string, SilenceWatch>();

  /** Closes the channels, too. */
  constructor(channels: Channels, { clock, access, connectTimeoutMs = 1_000, probesEarly = false }: GrpcMembersOptions) {
    this.#silentMs = silentMsOf(connectTimeoutMs);
    this.#probesEarly = probesEarly;
    this.#channels = channels;
    this.#clock = clock;
    this.#access = access;
  }

  async read(address: MemberAddress, target: ReadTarget, limits: CallLimits): Promise<void> {
    const request = target.nextRequest();
    const {
      url,
      offset,
      length,
      version,
      forwarded = false,
      cachedOnly = false,
      repeated = false,
      originRequests,
      onBehalfOf,
    } = request;
    const call = await this.call(address, url, limits);
    const message = { key: url, offset, length, version, forwarded, cachedOnly };
    const metadata = this.metadata();
    if (repeated) metadata.set(REPEATED_HEADER, "1");
    if (onBehalfOf !== undefined) metadata.set(ON_BEHALF_OF_HEADER, encodeURIComponent(onBehalfOf));
    if (originRequests !== undefined) metadata.set(ORIGIN_REQUESTS_HEADER, String(originRequests));
    const stream = call.client.readRange(message, metadata, callOptions(limits));
    target.sent();
    const wait = new StreamWait(stream, call.silence);
    const writer = new AnswerWriter(target, request, wait);
    stream.on("metadata", (headers: Metadata) => writer.describe(descriptionFrom(headers)));
    const onResponse = (response: ReadRangeResponse): void => {
      if (!writer.write(response)) wait.pause();
    };
    await receiveAll(stream, onResponse, call, wait);
    writer.end();
  }

  async stat(address: MemberAddress, question: StatQuestion, limits: CallLimits): Promise<ObjectStat> {
    const { url, version, forwarded = false, checksums = false, lease = false } = question;
    const call = await this.call(address, url, limits);
    const request = { key: url, version, forwarded, checksums, lease };
    const answer = await receiveOne<StatResponse>(
      (callback) => call.client.stat(request, this.metadata(), callOptions(limits), callback),
      call,
    );
    return { ...infoOfStat(answer), cachedBytes: answer.cachedBytes, leaseMs: answer.leaseMs };
  }

  async evict(address: MemberAddress, selector: EvictSelector, limits: CallLimits, forwarded = false): Promise<Evicted> {
    const prefix = "prefix" in selector;
    const key = prefix ? selector.prefix : selector.url;
    const call = await this.call(address, key, limits);
    const request = { key, version: selector.version ?? "", prefix, forwarded };
    const { blocks, bytes } = await receiveOne<EvictResponse>(
      (callback) => call.client.evict(request, this.metadata(), callOptions(limits), callback),
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
    const { urls, prefixes, version, concurrency, dryRun, block } = order;
    const call = await this.call(address, urls[0] ?? prefixes[0]!, limits);
    const request = { keys: [...urls], prefixes: [...prefixes], version, concurrency, dryRun, block };
    const stream = call.client.warm(request, this.metadata(), callOptions(limits));
    await receiveAll(stream, onProgress, call);
  }

  async touch(address: MemberAddress, blocks: readonly BlockId[], limits: CallLimits): Promise<number> {
    const call = await this.call(address, "a touch of blocks", limits);
    const request = { blocks: blocks.map(({ url: key, version, offset }) => ({ key, version, offset })) };
    const { cached } = await receiveOne<TouchResponse>(
      (callback) => call.client.touch(request, this.metadata(), callOptions(limits), callback),
      call,
    );
    return cached;
  }

  async lookUpRecords(
    address: MemberAddress,
    request: LookUpRecordsRequest,
    onAnswer: (answer: RecordAnswer) => void,
    limits: CallLimits,
  ): Promise<void> {
    const call = await this.call(address, request.questions[0]!.key, limits);
    const stream = call.client.lookUpRecords(request, this.metadata(), callOptions(limits));
    await receiveAll(stream, ({ answers }: LookUpRecordsResponse) => answers.forEach(onAnswer), call);
  }

  async renewLeases(address: MemberAddress, request: RenewLeasesRequest, limits: CallLimits): Promise<RenewLeasesResponse> {
    const call = await this.call(address, "a renewal of leases", limits);
    return receiveOne<RenewLeasesResponse>(
      (callback) => call.client.renewLeases(request, this.metadata(), callOptions(limits), callback),
      call,
    );
  }

  async versionChanged(address: MemberAddress, urls: readonly string[], limits: CallLimits): Promise<void> {
    const call = await this.call(address, urls[0]!, limits);
    await receiveOne<object>(
      (callback) => call.client.versionChanged({ keys: [...urls] }, this.metadata(), callOptions(limits), callback),
      call,
    );
  }

  async handOver(
    address: MemberAddress,
    request: HandOverRequest,
    onRecord: (record: HandedOverRecord) => void,
    limits: CallLimits,
  ): Promise<boolean> {
    const call = await this.call(address, "a hand-over of objects", limits);
    const stream = call.client.handOver(request, this.metadata(), callOptions(limits));
    let isConfirmed = false;
    const onMessage = ({ records, confirmed }: HandOverResponse): void => {
      for (const record of records) onRecord(record);
      isConfirmed = confirmed;
    };
    await receiveAll(stream, onMessage, call);
    return isConfirmed;
  }

  async callValues(address: MemberAddress, request: ValueCall, limits: CallLimits): Promise<ValueAnswer> {
    const call = await this.call(address, "a call about values", limits);
    return receiveOne<ValueAnswer>(
      (callback) => call.client.callValues(request, this.metadata(), callOptions(limits), callback),
      call,
    );
  }

  async watchValues(
    address: MemberAddress,
    request: WatchValuesRequest,
    onEvent: (event: ValueEventMessage) => void,
    limits: CallLimits,
  ): Promise<void> {
    // Without events the member is silent.
    const call = { ...(await this.call(address, "events of values", limits)), silence: undefined };
    await receiveAll(call.client.watchValues(request, this.metadata(), callOptions(limits)), onEvent, call);
  }

  async watchMembers(address: MemberAddress, onMembers: (list: MemberList) => void, limits: CallLimits): Promise<WatchEnd> {
    // Members send a list only when it changes. The watch ends when a probe for another call closes the channel, or by keepalive.
    const call = { ...(await this.call(address, "the member list", limits)), silence: undefined };
    try {
      await receiveAll(call.client.watchMembers({}, this.metadata(), callOptions(limits)), onMembers, call);
      return "ended";
    } catch (error) {
      if (isUnimplemented(error)) return "unsupported";
      throw error;
    }
  }

  /**
   * Asks for the owner of a block, which a member answers on its own. An open connection proves nothing: it seems to work
   * long after the member's machine has failed or its process was stopped.
   */
  async probe(address: MemberAddress, limits: CallLimits): Promise<void> {
    const { grpcAddress } = address;
    const signal = limits.signal;
    const own = new RunningCall({ clock: this.#clock, subject: `a probe of ${grpcAddress}`, signal });
    const cancelTimer = afterTicks(this.#clock, this.#silentMs, () => {
      own.abort(new CacheError("DEADLINE_EXCEEDED", `${grpcAddress}: no answer to a probe within ${this.#silentMs} ms`));
    });
    try {
      const client = await this.#channels.connected(address, "a probe", own);
      const question = { key: "s3://bucket/key", offset: 0 };
      const call = { client, address, subject: "a probe", limits: own, silence: undefined };
      await receiveOne((callback) => client.lookupOwner(question, this.metadata(), callOptions(own), callback), call);
    } catch (error) {
      if (limits.ended !== undefined) throw limits.ended;
      const isAnswer = error instanceof CacheError && !(error instanceof Unreachable) && error !== own.ended;
      if (isAnswer) return;
      this.#channels.drop(grpcAddress);
      throw error;
    } finally {
      cancelTimer();
      own.end();
    }
  }

  keepOnly(grpcAddresses: ReadonlySet<string>): void {
    this.#channels.keepOnly(grpcAddresses);
    for (const address of this.#silences.keys()) if (!grpcAddresses.has(address)) this.#silences.delete(address);
  }

  async close(): Promise<void> {
    for (const silence of this.#silences.values()) silence.close();
    this.#channels.close();
  }

  #silenceOf(address: MemberAddress): SilenceWatch {
    const { grpcAddress } = address;
    let silence = this.#silences.get(grpcAddress);
    if (silence === undefined) {
      const probe = async (): Promise<void> => {
        const call = new RunningCall({ clock: this.#clock, subject: "a probe", deadlineMs: PROBE_FACTOR * this.#silentMs });
        await this.probe(address, call).finally(() => call.end());
      };
      silence = new SilenceWatch({ clock: this.#clock, silentMs: this.#silentMs, probesEarly: this.#probesEarly, probe });
      this.#silences.set(grpcAddress, silence);
    }
    return silence;
  }

  /** The metadata of a call. */
  metadata(): Metadata {
    return callMetadata(this.#access);
  }

  /** Connects, and watches the member while the call waits. */
  async call(address: MemberAddress, subject: string, limits: CallLimits): Promise<GrpcCall> {
    const silence = this.#silenceOf(address);
    const client = this.#channels.ready(address) ?? (await this.#connected(address, subject, limits, silence));
    return { client, address, subject, limits, silence };
  }

  /** Connects. The kernel accepts connections for a stopped process, so connecting counts as waiting for the member, too. */
  async #connected(
    address: MemberAddress,
    subject: string,
    { signal }: CallLimits,
    silence: SilenceWatch,
  ): Promise<ServiceCalls> {
    const connecting = new RunningCall({ clock: this.#clock, subject, signal });
    const wait = { onSilent: (): void => connecting.abort(frozenMember(subject, address, silence)) };
    silence.add(wait);
    try {
      const client = await this.#channels.connected(address, subject, connecting);
      silence.heard();
      return client;
    } finally {
      silence.remove(wait);
      connecting.end();
    }
  }
}

/** Longest duration of a probe over its timeout: late ticks do not count, because this process did not run either. */
const PROBE_FACTOR = 4;
