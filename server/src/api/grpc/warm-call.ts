import {
  CacheError,
  type ErrorCode,
  type PrefixRef,
  parseObjectUrl,
  parsePrefixUrl,
  WarmProgress,
  type WarmRequest,
} from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { Cache } from "../../routing/cache.js";
import type { Log } from "../../runtime/log.js";
import type { FailureCount } from "../../security/failure-count.js";
import { requireMember } from "../../security/member-authentication.js";
import { callStatus } from "../call-status.js";
import { requestIdOf } from "../request-id.js";
import type { CallerOf } from "./call-authentication.js";

/** Concurrent blocks of a warming: the default and the maximum. */
const CONCURRENCY = { default: 16, most: 256 };

export interface WarmCallOptions {
  readonly cache: () => Cache;
  /** Aborted when the listener closes. */
  readonly closing: AbortSignal;
  /** Returns who makes a call. */
  readonly callerOf: CallerOf;
  /** Counts requests that only members may send, from other callers. */
  readonly refusals: FailureCount;
  readonly log: Log;
}

/**
 * One running Warm. It ends when everything is warm, the client cancels, or the listener closes: a warming may last for hours,
 * and another member can resume it. Running fetches then complete and are cached.
 */
export class WarmCall {
  readonly #call: ServerWritableStream<WarmRequest, WarmProgress>;
  readonly #options: WarmCallOptions;

  readonly #ended = new AbortController();

  constructor(call: ServerWritableStream<WarmRequest, WarmProgress>, options: WarmCallOptions) {
    this.#call = call;
    this.#options = options;
    call.once("cancelled", () => this.#ended.abort(new CacheError("CANCELLED", "the client cancelled the call")));
  }

  /** Answers the call. Never rejects. */
  async run(): Promise<void> {
    const { closing, log } = this.#options;
    // A CANCELLED from the member makes the client continue at another member.
    const shutDown = (): void => this.#ended.abort(new CacheError("CANCELLED", "this member is shutting down"));
    const remove = whenAborted(closing, shutDown);
    const { principal, peer } = this.#options.callerOf(this.#call);
    const requestId = requestIdOf(principal);
    const { keys, prefixes } = this.#call.request;
    const about = { requestId, url: keys[0] ?? prefixes[0], client: peer };
    let code: ErrorCode | "OK" = "OK";
    try {
      await this.#warm(this.#call.request);
      this.#call.end();
    } catch (error) {
      code = CacheError.from(error).code;
      this.#call.emit("error", callStatus(error, "Warm", log, about));
    } finally {
      remove();
      if (log.debugEnabled) log.debug({ event: "request", method: "Warm", ...about, code }, "answered a call");
    }
  }

  async #warm(request: WarmRequest): Promise<void> {
    const { signal } = this.#ended;
    const { refusals } = this.#options;
    const cache = this.#options.cache();
    const { principal, peer: client } = this.#options.callerOf(this.#call);
    const asked = { principal, dryRun: request.dryRun, signal };
    const version = request.version === "" ? undefined : request.version;
    const objects = request.keys.map((key) => ({ ref: parseObjectUrl(key), version }));
    const { block } = request;
    if (block === undefined) {
      const prefixes = prefixesOf(request);
      const concurrency = concurrencyOf(request);
      const report = (progress: WarmProgress): Promise<void> => this.#report(progress);
      return cache.ask({ kind: "warm", objects, prefixes, concurrency, report, ...asked });
    }
    // Like a client's request, it would warm whole objects, through members that ask this one for blocks again.
    requireMember({ what: "Warm of one block", principal, listener: "grpc", client }, refusals);
    const [object] = objects;
    if (object === undefined) throw new CacheError("INVALID_ARGUMENT", "a block to warm is of no object: name it in keys");
    const objectSize = block.objectSize === 0 ? undefined : block.objectSize;
    const warmed = await cache.ask({
      kind: "warmBlock",
      ...object,
      blockOffset: block.offset,
      objectSize,
      from: block.from,
      ...asked,
    });
    const { cachedBytes, fetchedBytes, objectSize: totalBytes } = warmed;
    const doneBytes = cachedBytes + fetchedBytes;
    const progress = { key: object.ref.url, version: warmed.version, doneBytes, cachedBytes, totalBytes, ended: true };
    await this.#report(WarmProgress.fromPartial(progress));
  }

  /** Resolves when the message was sent, or the call has ended. */
  #report(progress: WarmProgress): Promise<void> {
    const { signal } = this.#ended;
    return new Promise((resolve) => {
      const remove = whenAborted(signal, resolve);
      if (signal.aborted) return;
      this.#call.write(progress, () => {
        remove();
        resolve();
      });
    });
  }
}

function concurrencyOf({ concurrency }: WarmRequest): number {
  if (concurrency <= CONCURRENCY.most) return concurrency === 0 ? CONCURRENCY.default : concurrency;
  throw new CacheError(
    "INVALID_ARGUMENT",
    `concurrency ${concurrency} is too high: at most ${CONCURRENCY.most} concurrent blocks`,
  );
}

function prefixesOf({ prefixes, version }: WarmRequest): PrefixRef[] {
  if (prefixes.length === 0 || version === "") return prefixes.map(parsePrefixUrl);
  throw new CacheError("INVALID_ARGUMENT", `${prefixes[0]}: objects under a prefix have no version in common: omit it`);
}
