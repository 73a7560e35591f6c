import { answeredTrailers, cacheService, descriptionMetadata } from "@frontcache/client/grpc";
import {
  CacheError,
  type EvictRequest,
  type HandOverRequest,
  type HandOverResponse,
  type LookUpRecordsRequest,
  type LookUpRecordsResponse,
  type MemberInfo,
  type ObjectInfo,
  type ReadRangeRequest,
  type ReadRangeResponse,
  RecordAnswer,
  type RecordQuestion,
  type RenewLeasesRequest,
  type RenewLeasesResponse,
  recordToMessage,
  WarmProgress,
  type WarmRequest,
} from "@frontcache/proto";
import { Server, ServerCredentials, type ServerUnaryCall, type ServerWritableStream, type sendUnaryData } from "@grpc/grpc-js";
import { LEASE_MS } from "../objects/granted-leases.js";
import { rampBytes } from "./origin/ramp.js";

export type ReadCall = ServerWritableStream<ReadRangeRequest, ReadRangeResponse>;
type RecordsCall = ServerWritableStream<LookUpRecordsRequest, LookUpRecordsResponse>;
type HandOverCall = ServerWritableStream<HandOverRequest, HandOverResponse>;
export type WarmCall = ServerWritableStream<WarmRequest, WarmProgress>;

/** The fake of another member: a real gRPC server on a free port with scripted answers. */
export class AnsweringMember implements AsyncDisposable {
  readonly name: string;

  /** Reads, evictions and warmings in the order of their arrival. */
  readonly reads: ReadRangeRequest[] = [];
  readonly evictions: EvictRequest[] = [];
  readonly warmings: WarmRequest[] = [];
  /** Reads that their callers cancelled. */
  left = 0;
  /** Answers a read; default: with a ramp object of 100,000 bytes. */
  onRead: (call: ReadCall) => void = (call) => sendRamp(call, { size: 100_000 });
  /** Answers a warming; default: a block of 1,000 bytes of v1 was fetched. */
  onWarm: (call: WarmCall) => void = (call) => {
    call.write(WarmProgress.fromPartial({ version: "v1", doneBytes: 1_000, totalBytes: 100_000, ended: true }));
    call.end();
  };
  /** The record of every object. It is leased for as long as leases last. */
  record: ObjectInfo = { version: "v1", objectSize: 100_000 };
  /** Called when a question says that the origin rejected a version, before the answer. */
  onRejected: () => void = () => {};
  /** Requests to the origin that failed before each answer for a record. */
  failedRequests = 0;
  /** Questions for records, in the order in which they came. */
  readonly questions: RecordQuestion[] = [];
  /** Answers LookupOwner, which is the probe; undefined: never. */
  onProbe: "answer" | "starting" | "never" = "answer";
  readonly #server = new Server();
  #port = 0;

  private constructor(name: string) {
    this.name = name;
    this.#server.addService(cacheService, {
      readRange: (call: ReadCall) => {
        this.reads.push(call.request);
        call.once("cancelled", () => {
          if (!call.writableFinished) this.left++;
        });
        this.onRead(call);
      },
      lookupOwner: (_call: unknown, callback: sendUnaryData<{ addr: string }>) => {
        if (this.onProbe === "answer") callback(null, { addr: this.info.grpcAddress });
        // A member that is starting sends no trailer.
        if (this.onProbe === "starting") callback({ code: new CacheError("UNAVAILABLE", "").grpcStatus, details: "starting" });
      },
      evict: (call: ServerUnaryCall<EvictRequest, unknown>, callback: sendUnaryData<{ blocks: number; bytes: number }>) => {
        this.evictions.push(call.request);
        callback(null, { blocks: 1, bytes: 10 });
      },
      warm: (call: WarmCall) => {
        this.warmings.push(call.request);
        this.onWarm(call);
      },
      lookUpRecords: (call: RecordsCall) => {
        const { questions } = call.request;
        this.questions.push(...questions);
        if (questions.some(({ rejectedVersion }) => rejectedVersion !== "")) this.onRejected();
        const record = recordToMessage(this.record);
        const { failedRequests } = this;
        const answer = { record, leaseId: this.questions.length, leaseMs: LEASE_MS, failedRequests };
        call.write({ answers: questions.map((_, index) => RecordAnswer.fromPartial({ index, ...answer })) });
        call.end();
      },
      handOver: (call: HandOverCall) => {
        call.write({ records: [], confirmed: true });
        call.end();
      },
      renewLeases: ({ request }: ServerUnaryCall<RenewLeasesRequest, unknown>, callback: sendUnaryData<RenewLeasesResponse>) =>
        callback(null, { refused: request.ids, leaseMs: 0 }),
      versionChanged: (_call: unknown, callback: sendUnaryData<object>) => callback(null, {}),
      ...Object.fromEntries(["stat", "watchMembers"].map((method) => [method, () => {}])),
    });
  }

  /** Listens on `port`, by default on a free one. */
  static async start(name: string, port = 0): Promise<AnsweringMember> {
    const member = new AnsweringMember(name);
    member.#port = await new Promise<number>((resolve, reject) => {
      member.#server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    return member;
  }

  get port(): number {
    return this.#port;
  }

  get info(): MemberInfo {
    return { name: this.name, grpcAddress: `127.0.0.1:${this.#port}` };
  }

  /** Simulates a crash: resets connections and stops listening. */
  async kill(): Promise<void> {
    const ended = new Promise((resolve) => this.#server.tryShutdown(resolve));
    this.#server.forceShutdown();
    await ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

export interface SentRamp {
  readonly size: number;
  readonly version?: string;
  readonly contentType?: string;
  readonly messageBytes?: number;
  /** Sends this number of bytes, and then neither more bytes nor an end. */
  readonly onlyBytes?: number;
}

/** Answers a read with the bytes of a ramp object, as a member does. */
export function sendRamp(call: ReadCall, { size, version = "v1", contentType, messageBytes = 1_000, onlyBytes }: SentRamp): void {
  const { offset, length } = call.request;
  const end = Math.min(size, offset + length, offset + (onlyBytes ?? length));
  call.sendMetadata(descriptionMetadata({ version, objectSize: size, ...(contentType === undefined ? {} : { contentType }) }));
  for (let at = offset; at < end; at += messageBytes) {
    const first = at === offset;
    const data = rampBytes(at, Math.min(messageBytes, end - at), 0);
    call.write({ data, version: first ? version : "", objectSize: first ? size : 0 });
  }
  if (onlyBytes === undefined) call.end();
}

/** Answers a call with an error of the member itself. */
export function sendError(call: ReadCall | WarmCall, error: CacheError): void {
  call.emit("error", { code: error.grpcStatus, details: error.message, metadata: answeredTrailers(error) });
}
