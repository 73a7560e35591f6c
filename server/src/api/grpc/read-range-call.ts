import { descriptionMetadata } from "@frontcache/client/grpc";
import {
  CacheError,
  checkRange,
  type ErrorCode,
  ON_BEHALF_OF_HEADER,
  ORIGIN_REQUESTS_HEADER,
  parseObjectUrl,
  parseOnBehalfOf,
  parseOriginRequests,
  REPEATED_HEADER,
  type ReadRangeRequest,
  type ReadRangeResponse,
} from "@frontcache/proto";
import { AbortSource } from "@frontcache/proto/runtime";
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Cache } from "../../routing/cache.js";
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import type { FailureCount } from "../../security/failure-count.js";
import { isMembersRequest } from "../../security/member-authentication.js";
import type { Principal } from "../../security/principal.js";
import { callStatus, MAX_STARTS, readFailure, wasOverwritten } from "../call-status.js";
import type { Client, Clients } from "../limits/clients.js";
import { requestIdOf } from "../request-id.js";
import { grpcCall } from "../sending/send-strategy.js";
import { Sending } from "../sending/sending.js";
import type { CallerOf } from "./call-authentication.js";
import { ReadRangeSink } from "./read-range-sink.js";
import type { RunningCalls } from "./running-calls.js";

export interface ReadRangeCallOptions {
  readonly cache: () => Cache;
  readonly calls: Pick<RunningCalls, "begin">;
  readonly clients: Clients;
  /** Disconnects the client at an `address:port`. */
  readonly cutOff: (peer: string) => void;
  /** Returns who makes a call. */
  readonly callerOf: CallerOf;
  /** Counts requests that only members may send, from other callers. */
  readonly refusals: FailureCount;
  readonly clock: Clock;
  readonly log: Log;
}

/** One running ReadRange: opens the read and sends it in messages. grpc-js emits `cancelled` at the end of every call. */
export class ReadRangeCall {
  readonly #call: ServerWritableStream<ReadRangeRequest, ReadRangeResponse>;
  readonly #options: ReadRangeCallOptions;
  /** Undefined before it is needed. */
  #requestId: string | undefined;
  readonly #cancelled = new AbortSource();
  readonly #principal: Principal;
  readonly #peer: string;
  readonly #client: Client;
  readonly #ended: () => void;
  /** It counts as a running read. */
  #isCounted = false;
  #read: ObjectRead | undefined;
  #sending: Sending | undefined;
  #failure: ErrorCode | undefined;
  #isOver = false;
  #starts = 0;

  constructor(call: ServerWritableStream<ReadRangeRequest, ReadRangeResponse>, options: ReadRangeCallOptions) {
    this.#call = call;
    this.#options = options;
    const { principal, peer } = options.callerOf(call);
    this.#principal = principal;
    this.#peer = peer;
    this.#client = options.clients.of(peer.slice(0, peer.lastIndexOf(":")));
    this.#ended = options.calls.begin();
    call.once("cancelled", this.#end);
  }

  /** Answers the call. Never throws. */
  run(): void {
    const busy = this.#client.beginRead();
    this.#isCounted = busy === undefined;
    if (busy === undefined) this.#start();
    else this.#fail(busy);
  }

  /** Opens the read, also again after the object was overwritten before its first byte. Never throws. */
  #start(): void {
    this.#starts++;
    try {
      const { key, offset, length, version, forwarded, cachedOnly } = this.#call.request;
      const ref = parseObjectUrl(key);
      checkRange(key, offset, length);
      const opened = this.#options.cache().open({
        ref,
        version: version === "" ? undefined : version,
        offset,
        length,
        forwarded: forwarded && this.#isMembers("a forwarded ReadRange"),
        cachedOnly,
        isRepeated: this.#call.metadata.get(REPEATED_HEADER)[0] === "1",
        onBehalfOf: this.#onBehalfOf(),
        originRequests: parseOriginRequests(this.#call.metadata.get(ORIGIN_REQUESTS_HEADER)[0]),
        principal: this.#principal,
        signal: this.#cancelled.signal,
      });
      if (opened instanceof Promise) opened.then((read) => this.#send(read), this.#fail);
      else this.#send(opened);
    } catch (error) {
      this.#fail(error);
    }
  }

  #onBehalfOf(): string | undefined {
    const [named] = this.#call.metadata.get(ON_BEHALF_OF_HEADER);
    return named !== undefined && this.#isMembers(ON_BEHALF_OF_HEADER) ? parseOnBehalfOf(named) : undefined;
  }

  #isMembers(what: string): boolean {
    const request = { what, principal: this.#principal, listener: "grpc", client: this.#peer } as const;
    return isMembersRequest(request, this.#options.refusals);
  }

  #send(read: ObjectRead): void {
    if (this.#isOver) {
      read.close();
      return;
    }
    const { forwarded, cachedOnly } = this.#call.request;
    if (forwarded || cachedOnly) this.#call.sendMetadata(descriptionMetadata(read.info));
    this.#read = read;
    const { clock, cutOff } = this.#options;
    this.#sending = new Sending({
      read,
      sink: new ReadRangeSink(this.#call, read.info, () => cutOff(this.#peer)),
      strategyFor: grpcCall,
      client: this.#client,
      clock,
      begin: () => {},
      onFailure: this.#fail,
    });
    this.#sending.start();
  }

  readonly #fail = (thrown: unknown): void => {
    if (this.#isOver) return;
    const { key, version, forwarded, cachedOnly } = this.#call.request;
    const required = version === "" ? undefined : version;
    // Members have got the description of the version before its bytes.
    const mayStartAgain = this.#sending?.begun !== true && !forwarded && !cachedOnly && this.#starts < MAX_STARTS;
    if (mayStartAgain && wasOverwritten(thrown, required)) {
      this.#sending?.end();
      this.#sending = undefined;
      this.#start();
      return;
    }
    this.#isOver = true;
    // A member that asks for a client starts the client's read again itself.
    const isAsItWas = this.#sending?.begun === true || forwarded || cachedOnly;
    const error = isAsItWas ? thrown : readFailure(thrown, key, required);
    this.#failure = CacheError.from(error).code;
    this.#call.emit("error", callStatus(error, "ReadRange", this.#options.log, this.#about));
  };

  /** Called when the call is over: answered, failed, past its deadline, or cancelled by the client. */
  readonly #end = (): void => {
    const isAnswered = this.#isOver || this.#sending?.complete === true;
    this.#isOver = true;
    if (!isAnswered) this.#cancelled.abort(new CacheError("CANCELLED", "the client cancelled the read"));
    this.#sending?.end();
    if (this.#isCounted) this.#client.endRead();
    this.#ended();
    if (this.#options.log.debugEnabled) this.#log();
  };

  get #about() {
    this.#requestId ??= requestIdOf(this.#principal);
    return { requestId: this.#requestId, url: this.#call.request.key, client: this.#peer };
  }

  /** Writes one line per read. A `call-failed` line of the same read has the same request id. */
  #log(): void {
    const { offset, length } = this.#call.request;
    const code = this.#failure ?? (this.#sending?.complete === true ? "OK" : "CANCELLED");
    const fields = { event: "request", method: "ReadRange", ...this.#about, offset, length, result: this.#read?.result, code };
    this.#options.log.debug(fields, "answered a call");
  }
}
