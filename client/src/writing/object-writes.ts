import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import { checkIterable, checkOptions } from "../argument-types.js";
import type { ClientCalls } from "../client-calls.js";
import type { RunningCall } from "../members/running-call.js";
import type { NearCache } from "../near/near-cache.js";
import { CALL_OPTIONS, type CallOptions } from "../options.js";
import { type CopySource, copyObject } from "./copy-object.js";
import { type DeleteSummary, deleteObject, deleteObjects } from "./delete-objects.js";
import { LIST_OPTIONS, type ListedObject, type ListedPrefix, type ListOptions, listPage } from "./list-objects.js";
import { type Written, within } from "./multipart.js";
import { PUT_OPTIONS, type PutOptions, putObject } from "./put-object.js";
import type { PutBody } from "./put-source.js";
import type { SendWith } from "./sending.js";

/** The writes and listings of a client. A write has no deadline as a whole: each of its requests has one. */
export class ObjectWrites {
  readonly #calls: ClientCalls;
  readonly #near: NearCache | undefined;

  constructor(calls: ClientCalls, near: NearCache | undefined) {
    this.#calls = calls;
    this.#near = near;
  }

  async put(url: string, body: PutBody, options: PutOptions): Promise<Written> {
    parseObjectUrl(url);
    checkOptions(options, PUT_OPTIONS);
    return await this.#write(url, options, (using, call, deadlineMs) => putObject(url, body, options, using, call, deadlineMs));
  }

  async copy(source: CopySource, to: string, options: CallOptions): Promise<Written> {
    return await this.#write(to, options, (using, call, deadlineMs) => copyObject(source, to, using, call, deadlineMs));
  }

  async delete(url: string, options: CallOptions): Promise<void> {
    checkOptions(options, CALL_OPTIONS);
    parseObjectUrl(url);
    await this.#write(url, options, (using, call, deadlineMs) =>
      within(call, deadlineMs, (own) => deleteObject(url, using, own)),
    );
  }

  async deleteAll(urls: Iterable<string> | AsyncIterable<string>, options: CallOptions): Promise<DeleteSummary> {
    checkOptions(options, CALL_OPTIONS);
    checkIterable("urls", urls);
    const drop = (url: string): void => void this.#near?.drop({ url });
    return await this.#write("deleting objects", options, (using, call, deadlineMs) =>
      deleteObjects(urls, drop, using, call, deadlineMs),
    );
  }

  async *list(url: string, options: ListOptions): AsyncGenerator<ListedObject | ListedPrefix, void> {
    checkOptions(options, LIST_OPTIONS);
    parsePrefixUrl(url);
    const { sendWith } = this.#calls.connected;
    let token: string | undefined;
    do {
      const page = await this.#calls.run(url, options, (call) => listPage(url, options, token, sendWith, call));
      yield* page.entries;
      token = page.nextToken;
    } while (token !== undefined);
  }

  /** Runs a write. What is near of the object is dropped, whatever the outcome. */
  async #write<Result>(
    url: string,
    options: CallOptions,
    write: (using: SendWith, call: RunningCall, deadlineMs: number) => Promise<Result>,
  ): Promise<Result> {
    const { list, sendWith } = this.#calls.connected;
    const deadlineMs = this.#calls.deadlineOf(options);
    try {
      return await this.#calls.traced("write", url, () =>
        this.#calls.runLong(url, options, async (call) => {
          if (!list.isReady) await within(call, deadlineMs, (own) => list.ready(own));
          return await write(sendWith, call, deadlineMs);
        }),
      );
    } finally {
      this.#near?.drop({ url });
    }
  }
}
