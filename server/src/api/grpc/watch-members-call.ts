import type { MemberList, WatchMembersRequest } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { MemberDirectory } from "../../routing/cache.js";
import type { Log } from "../../runtime/log.js";
import { callStatus } from "../call-status.js";
import { SOCKET_CLIENT } from "../listening-port.js";
import type { CallerOf } from "./call-authentication.js";

export interface WatchMembersCallOptions {
  readonly members: () => MemberDirectory;
  /** Aborted when the listener closes. */
  readonly closing: AbortSignal;
  /** Returns who makes a call. */
  readonly callerOf: CallerOf;
  /** Path of the Unix socket of the HTTP listener. Undefined: it has none. */
  readonly httpSocket?: string | undefined;
  readonly log: Log;
}

/**
 * One running WatchMembers: sends the current member list and each new one, until the client cancels or the listener closes, which
 * ends it without an error. One message is sent at a time, then only the newest list, so a slow client costs no more than one list.
 */
export class WatchMembersCall {
  readonly #call: ServerWritableStream<WatchMembersRequest, MemberList>;
  readonly #options: WatchMembersCallOptions;

  /** Only callers on this host can use it. */
  readonly #httpSocket: string | undefined;
  #newest: MemberList | undefined;
  #sending = false;
  #ended = false;
  #unsubscribe: () => void = () => {};
  #removeFromClosing: () => void = () => {};

  constructor(call: ServerWritableStream<WatchMembersRequest, MemberList>, options: WatchMembersCallOptions) {
    this.#call = call;
    this.#options = options;
    const { peer } = options.callerOf(call);
    this.#httpSocket = peer.startsWith(`${SOCKET_CLIENT}:`) ? options.httpSocket : undefined;
  }

  /** Answers the call. Never throws. */
  run(): void {
    const { members, closing, log } = this.#options;
    this.#call.once("cancelled", this.#end);
    try {
      this.#unsubscribe = members().watchMembers(this.#onList);
    } catch (error) {
      this.#end();
      this.#call.emit("error", callStatus(error, "WatchMembers", log));
      return;
    }
    this.#removeFromClosing = whenAborted(closing, this.#finish);
  }

  readonly #onList = (list: MemberList): void => {
    this.#newest = list;
    if (!this.#sending) this.#send();
  };

  /** Sends the newest list; called again when the previous message was sent. */
  readonly #send = (): void => {
    const list = this.#newest;
    this.#newest = undefined;
    this.#sending = false;
    if (list === undefined || this.#ended) return;
    this.#sending = true;
    this.#call.write({ ...list, httpSocket: this.#httpSocket }, this.#send);
  };

  readonly #finish = (): void => {
    if (this.#ended) return;
    this.#end();
    this.#call.end();
  };

  readonly #end = (): void => {
    this.#ended = true;
    this.#unsubscribe();
    this.#removeFromClosing();
  };
}
