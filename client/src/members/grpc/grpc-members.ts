import {
  abortError,
  type BlockId,
  CacheError,
  type EvictResponse,
  errorCodeOfGrpc,
  type HandedOverRecord,
  type HandOverRequest,
  type HandOverResponse,
  infoOfStat,
  type LookUpRecordsRequest,
  type LookUpRecordsResponse,
  type MemberList,
  REPEATED_HEADER,
  type ReadRangeResponse,
  type RecordAnswer,
  type RenewLeasesRequest,
  type RenewLeasesResponse,
  type StatResponse,
  type TouchResponse,
  type WarmProgress,
} from "@frontcache/proto";
import {
  type CallOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import type { Access } from "../access.js";
import type { Clock } from "../clock.js";
import type {
  AnswerSource,
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
  WarmOrder,
  WatchEnd,
} from "../ports.js";
import { Unreachable } from "../ports.js";
import { RunningCall } from "../running-call.js";
import { afterTicks, PROBE_TIMEOUT_MS, SILENCE, SilenceWatch, type WaitingCall } from "../silence-watch.js";
import { AnswerWriter } from "./answer-writer.js";
import { callMetadata, descriptionFrom, isOriginTried, isUnreachable } from "./call-metadata.js";
import type { Channels, ServiceCalls } from "./grpc-channels.js";

/** One gRPC call to one member. */
interface GrpcCall {
  readonly client: ServiceCalls;
  readonly address: MemberAddress;
  /** The subject at the start of its error messages, for example an object's URL. */
  readonly subject: string;
  readonly limits: CallLimits;
  /** Detects that the member does not respond. Undefined: the call may be silent for any time. */
  readonly silence: SilenceWatch | undefined;
}

export interface GrpcMembersOptions {
  readonly clock: Clock;
  /** Authentication of calls. */
  readonly access: Access;
  /** As in SilenceRule. Absent: no. */
  readonly probesEarly?: boolean | undefined;
}

/** Calls to members over gRPC. The bytes of a read are copied once, from the received message into the target. */
export class GrpcMembers implements BlockTransport, MemberCalls, ObjectCalls {
  readonly #channels: Channels;
  readonly #clock: Clock;
  readonly #access: Access;
  readonly #probesEarly: boolean;
  /** Silence watches by gRPC address. */
  readonly #silences = new Map<string, SilenceWatch>();

  /** Closes the channels, too. */
  constructor(channels: Channels, { clock, access, probesEarly = false }: GrpcMembersOptions) {
    this.#probesEarly = probesEarly;
    this.#channels = channels;
    this.#clock = clock;
    this.#access = access;
  }

  async read(address: MemberAddress, target: ReadTarget, limits: CallLimits): Promise<void> {
    const request = target.nextRequest();
    const { url, offset, length, version, forwarded = false, cachedOnly = false, repeated = false } = request;
    const call = await this.#call(address, url, limits);
    const message = { key: url, offset, length, version, forwarded, cachedOnly };
    const metadata = this.#metadata();
    if (repeated) metadata.set(REPEATED_HEADER, "1");
    const stream = call.client.readRange(message, metadata, callOptions(limits));
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
    const { url, version, forwarded = false, checksums = false } = question;
    const call = await this.#call(address, url, limits);
    const request = { key: url, version, forwarded, checksums };
    const answer = await receiveOne<StatResponse>(
      (callback) => call.client.stat(request, this.#metadata(), callOptions(limits), callback),
      call,
    );
    return { ...infoOfStat(answer), cachedBytes: answer.cachedBytes };
  }

  async evict(address: MemberAddress, selector: EvictSelector, limits: CallLimits, forwarded = false): Promise<Evicted> {
    const prefix = "prefix" in selector;
    const key = prefix ? selector.prefix : selector.url;
    const call = await this.#call(address, key, limits);
    const request = { key, version: selector.version ?? "", prefix, forwarded };
    const { blocks, bytes } = await receiveOne<EvictResponse>(
      (callback) => call.client.evict(request, this.#metadata(), callOptions(limits), callback),
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
    const call = await this.#call(address, urls[0] ?? prefixes[0]!, limits);
    const request = { keys: [...urls], prefixes: [...prefixes], version, concurrency, dryRun, block };
    const stream = call.client.warm(request, this.#metadata(), callOptions(limits));
    await receiveAll(stream, onProgress, call);
  }

  async touch(address: MemberAddress, blocks: readonly BlockId[], limits: CallLimits): Promise<number> {
    const call = await this.#call(address, "a touch of blocks", limits);
    const request = { blocks: blocks.map(({ url: key, version, offset }) => ({ key, version, offset })) };
    const { cached } = await receiveOne<TouchResponse>(
      (callback) => call.client.touch(request, this.#metadata(), callOptions(limits), callback),
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
    const call = await this.#call(address, request.questions[0]!.key, limits);
    const stream = call.client.lookUpRecords(request, this.#metadata(), callOptions(limits));
    await receiveAll(stream, ({ answers }: LookUpRecordsResponse) => answers.forEach(onAnswer), call);
  }

  async renewLeases(address: MemberAddress, request: RenewLeasesRequest, limits: CallLimits): Promise<RenewLeasesResponse> {
    const call = await this.#call(address, "a renewal of leases", limits);
    return receiveOne<RenewLeasesResponse>(
      (callback) => call.client.renewLeases(request, this.#metadata(), callOptions(limits), callback),
      call,
    );
  }

  async versionChanged(address: MemberAddress, urls: readonly string[], limits: CallLimits): Promise<void> {
    const call = await this.#call(address, urls[0]!, limits);
    await receiveOne<object>(
      (callback) => call.client.versionChanged({ keys: [...urls] }, this.#metadata(), callOptions(limits), callback),
      call,
    );
  }

  async handOver(
    address: MemberAddress,
    request: HandOverRequest,
    onRecord: (record: HandedOverRecord) => void,
    limits: CallLimits,
  ): Promise<boolean> {
    const call = await this.#call(address, "a hand-over of objects", limits);
    const stream = call.client.handOver(request, this.#metadata(), callOptions(limits));
    let isConfirmed = false;
    const onMessage = ({ records, confirmed }: HandOverResponse): void => {
      for (const record of records) onRecord(record);
      isConfirmed = confirmed;
    };
    await receiveAll(stream, onMessage, call);
    return isConfirmed;
  }

  async watchMembers(address: MemberAddress, onMembers: (list: MemberList) => void, limits: CallLimits): Promise<WatchEnd> {
    // Members send a list only when it changes. The watch ends when a probe for another call closes the channel, or by keepalive.
    const call = { ...(await this.#call(address, "the member list", limits)), silence: undefined };
    try {
      await receiveAll(call.client.watchMembers({}, this.#metadata(), callOptions(limits)), onMembers, call);
      return "ended";
    } catch (error) {
      if (error instanceof CacheError && isUnimplemented(error.cause)) return "unsupported";
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
    const cancelTimer = afterTicks(this.#clock, PROBE_TIMEOUT_MS, () => {
      own.abort(new CacheError("DEADLINE_EXCEEDED", `${grpcAddress}: no answer to a probe within ${PROBE_TIMEOUT_MS} ms`));
    });
    try {
      const call = await this.#call(address, "a probe", limits);
      const question = { key: "s3://bucket/key", offset: 0 };
      await receiveOne((callback) => call.client.lookupOwner(question, this.#metadata(), callOptions(own), callback), {
        ...call,
        limits: own,
        silence: undefined,
      });
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
        const call = new RunningCall({ clock: this.#clock, subject: "a probe", deadlineMs: LONGEST_PROBE_MS });
        await this.probe(address, call).finally(() => call.end());
      };
      silence = new SilenceWatch({ clock: this.#clock, probesEarly: this.#probesEarly, probe });
      this.#silences.set(grpcAddress, silence);
    }
    return silence;
  }

  #metadata(): Metadata {
    return callMetadata(this.#access);
  }

  async #call(address: MemberAddress, subject: string, limits: CallLimits): Promise<GrpcCall> {
    const client = await this.#channels.connected(address, subject, limits);
    return { client, address, subject, limits, silence: this.#silenceOf(address) };
  }
}

/** Timeout of a probe in ticks. Late ticks do not count, because this process did not run either. */
const LONGEST_PROBE_MS = 4 * PROBE_TIMEOUT_MS;

/** A stream that waits for its member, except while its receiver pauses it. */
class StreamWait implements WaitingCall, AnswerSource {
  readonly #stream: Pick<ClientReadableStream<unknown>, "cancel" | "pause" | "resume">;
  readonly #silence: SilenceWatch | undefined;
  /** Called when the member does not respond. */
  isSilent = false;
  #isOver = false;

  constructor(stream: Pick<ClientReadableStream<unknown>, "cancel" | "pause" | "resume">, silence: SilenceWatch | undefined) {
    this.#stream = stream;
    this.#silence = silence;
    silence?.add(this);
  }

  heard(): void {
    this.#silence?.heard();
  }

  pause(): void {
    this.#silence?.remove(this);
    this.#stream.pause();
  }

  resume(): void {
    if (!this.#isOver) this.#silence?.add(this);
    this.#stream.resume();
  }

  onSilent(): void {
    this.isSilent = true;
    this.#stream.cancel();
  }

  end(): void {
    this.#isOver = true;
    this.#silence?.remove(this);
  }
}

/**
 * Difference between the member's deadline and ours, milliseconds. Ours cancels the call; the member's deadline is needed
 * only if the cancellation never arrives.
 */
const DEADLINE_GRACE_MS = 1_000;

/** Returns a call's options: the deadline, if any. */
function callOptions(limits: CallLimits): CallOptions {
  const remainingMs = limits.remainingMs();
  return Number.isFinite(remainingMs) ? { deadline: Date.now() + remainingMs + DEADLINE_GRACE_MS } : {};
}

/** Passes on a stream's messages until it ends. If `onMessage` throws, cancels the stream and rejects with its error. */
function receiveAll<Message>(
  stream: Pick<ClientReadableStream<Message>, "on" | "cancel" | "pause" | "resume">,
  onMessage: (message: Message) => void,
  call: GrpcCall,
  wait = new StreamWait(stream, call.silence),
): Promise<void> {
  return new Promise((resolve, reject) => {
    let refusal: { readonly reason: unknown } | undefined;
    let settled = false;
    const forget = call.limits.onEnd(() => stream.cancel());
    const settle = (then: () => void): void => {
      if (settled) return;
      settled = true;
      wait.end();
      forget();
      then();
    };
    stream.on("data", (message: Message) => {
      wait.heard();
      if (settled || refusal !== undefined) return;
      try {
        onMessage(message);
      } catch (reason) {
        refusal = { reason };
        stream.cancel();
      }
    });
    stream.on("error", (error: ServiceError) =>
      settle(() => reject(refusal === undefined ? failureOf(error, call, wait.isSilent) : refusal.reason)),
    );
    stream.on("end", () => settle(() => (refusal === undefined ? resolve() : reject(refusal.reason))));
    if (call.limits.ended !== undefined) stream.cancel();
  });
}

/** Resolves with the response of a unary call. */
function receiveOne<Answer>(
  start: (callback: (error: ServiceError | null, answer: Answer) => void) => ClientUnaryCall,
  call: GrpcCall,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let isSilent = false;
    const wait = {
      onSilent(): void {
        isSilent = true;
        running.cancel();
      },
    };
    const forget = call.limits.onEnd(() => running.cancel());
    const running = start((error, answer) => {
      forget();
      call.silence?.remove(wait);
      if (error === null) {
        call.silence?.heard();
        resolve(answer);
      } else reject(failureOf(error, call, isSilent));
    });
    call.silence?.add(wait);
    if (call.limits.ended !== undefined) running.cancel();
  });
}

/**
 * Converts the error of a failed call. The member's message, which names the object, is kept. A member is unreachable if it is
 * silent, if its connection was lost, and while it is starting or shutting down.
 */
function failureOf(error: ServiceError, { address, subject, limits }: GrpcCall, isSilent: boolean): CacheError {
  if (limits.ended !== undefined) return abortError(limits.signal);
  if (isSilent) {
    const message = `${subject}: member ${address.grpcAddress} is unreachable: ${SILENCE}`;
    return new Unreachable(message, { cause: error, isGone: true });
  }
  if (isUnreachable(error)) {
    return new Unreachable(`${subject}: member ${address.grpcAddress} is unreachable: ${error.details}`, { cause: error });
  }
  const code = errorCodeOfGrpc(error.code);
  const message = error.details.includes(subject) ? error.details : `${subject}: ${error.details}`;
  return new CacheError(code, message, { cause: error, isOriginTried: isOriginTried(error) });
}

function isUnimplemented(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === status.UNIMPLEMENTED;
}
