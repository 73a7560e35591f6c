import type { MemberList, WatchMembersRequest } from "@frontcache/proto";
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { MemberDirectory } from "../../routing/cache.js";
import type { Log } from "../../runtime/log.js";
import { callStatus } from "../call-status.js";

export interface WatchMembersCallOptions {
  readonly members: () => MemberDirectory;
  /** Aborted when the listener closes. */
  readonly closing: AbortSignal;
  readonly log: Log;
}

/**
 * One running WatchMembers: the member list now and each new one, until the client cancels or the listener closes, which ends
 * it without an error. One message is sent at a time, and later only the newest list, so that a client
 * that reads slowly costs no more than one list.
 */
export class WatchMembersCall {
  readonly #call: ServerWritableStream<WatchMembersRequest, MemberList>;
  readonly #options: WatchMembersCallOptions;

  #newest: MemberList | undefined;
  #sending = false;
  #ended = false;
  #unsubscribe: () => void = () => {};

  constructor(call: ServerWritableStream<WatchMembersRequest, MemberList>, options: WatchMembersCallOptions) {
    this.#call = call;
    this.#options = options;
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
    closing.addEventListener("abort", this.#finish, { once: true });
    if (closing.aborted) this.#finish();
  }

  readonly #onList = (list: MemberList): void => {
    this.#newest = list;
    if (!this.#sending) this.#send();
  };

  /** Runs again when the message was taken. */
  readonly #send = (): void => {
    const list = this.#newest;
    this.#newest = undefined;
    this.#sending = false;
    if (list === undefined || this.#ended) return;
    this.#sending = true;
    this.#call.write(list, this.#send);
  };

  readonly #finish = (): void => {
    if (this.#ended) return;
    this.#end();
    this.#call.end();
  };

  readonly #end = (): void => {
    this.#ended = true;
    this.#unsubscribe();
    this.#options.closing.removeEventListener("abort", this.#finish);
  };
}
