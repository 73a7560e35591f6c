import { setMaxListeners } from "node:events";
import { CacheError, type PrefixRef, parseObjectUrl, parsePrefixUrl, WarmProgress, type WarmRequest } from "@frontcache/proto";
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { Cache } from "../../routing/cache.js";
import type { Log } from "../../runtime/log.js";
import type { FailureCount } from "../../security/failure-count.js";
import { requireMember } from "../../security/member-authentication.js";
import type { Principal } from "../../security/principal.js";
import { callStatus } from "../call-status.js";

/** Blocks warmed at a time by a call that does not say, and by one that says most. */
const CONCURRENCY = { default: 16, most: 256 };

export interface WarmCallOptions {
  readonly cache: () => Cache;
  /** Aborted when the listener closes. */
  readonly closing: AbortSignal;
  /** Whom the calls of an `address:port` are made for. */
  readonly principalOf: (peer: string) => Principal;
  /** Requests of members' kind that others made. */
  readonly refusals: FailureCount;
  readonly log: Log;
}

/**
 * One running Warm, until everything is warm, the client cancels, or the listener closes: a warming may last for hours, and another
 * member can go on with it. What is under way then is fetched to its end, and kept.
 */
export class WarmCall {
  readonly #call: ServerWritableStream<WarmRequest, WarmProgress>;
  readonly #options: WarmCallOptions;

  readonly #gone = new AbortController();

  constructor(call: ServerWritableStream<WarmRequest, WarmProgress>, options: WarmCallOptions) {
    this.#call = call;
    this.#options = options;
    // One listener for each segment that is waited for.
    setMaxListeners(0, this.#gone.signal);
    call.once("cancelled", () => this.#gone.abort(new CacheError("CANCELLED", "the client cancelled the call")));
  }

  /** Answers the call. Never rejects. */
  async run(): Promise<void> {
    const { closing, log } = this.#options;
    closing.addEventListener("abort", this.#shutDown, { once: true });
    try {
      if (closing.aborted) this.#shutDown();
      await this.#warm(this.#call.request);
      this.#call.end();
    } catch (error) {
      this.#call.emit("error", callStatus(error, "Warm", log));
    } finally {
      closing.removeEventListener("abort", this.#shutDown);
    }
  }

  async #warm(request: WarmRequest): Promise<void> {
    const { signal } = this.#gone;
    const { principalOf, refusals } = this.#options;
    const cache = this.#options.cache();
    const client = this.#call.getPeer();
    const principal = principalOf(client);
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
    // As a client's it would have whole objects warmed, by members that ask this one for blocks again.
    requireMember({ what: "Warm of one block", principal, listener: "grpc", client }, refusals);
    const [object] = objects;
    if (object === undefined) throw new CacheError("INVALID_ARGUMENT", "a block to warm is of no object: name it in keys");
    const objectSize = block.objectSize === 0 ? undefined : block.objectSize;
    const warmed = await cache.ask({ kind: "warmBlock", ...object, blockOffset: block.offset, objectSize, ...asked });
    const { cachedBytes, fetchedBytes, objectSize: totalBytes } = warmed;
    const doneBytes = cachedBytes + fetchedBytes;
    const progress = { key: object.ref.url, version: warmed.version, doneBytes, cachedBytes, totalBytes, ended: true };
    await this.#report(WarmProgress.fromPartial(progress));
  }

  /** Resolves when the message is on its way, or nobody is there to take it. */
  #report(progress: WarmProgress): Promise<void> {
    const { signal } = this.#gone;
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const done = (): void => {
        signal.removeEventListener("abort", done);
        resolve();
      };
      signal.addEventListener("abort", done, { once: true });
      this.#call.write(progress, done);
    });
  }

  /** A CANCELLED of the member's own makes the client continue at another member. */
  readonly #shutDown = (): void => this.#gone.abort(new CacheError("CANCELLED", "this member is shutting down"));
}

function concurrencyOf({ concurrency }: WarmRequest): number {
  if (concurrency <= CONCURRENCY.most) return concurrency === 0 ? CONCURRENCY.default : concurrency;
  throw new CacheError(
    "INVALID_ARGUMENT",
    `concurrency ${concurrency} is too much: at most ${CONCURRENCY.most} blocks at a time`,
  );
}

function prefixesOf({ prefixes, version }: WarmRequest): PrefixRef[] {
  if (prefixes.length === 0 || version === "") return prefixes.map(parsePrefixUrl);
  throw new CacheError("INVALID_ARGUMENT", `${prefixes[0]}: objects under a prefix have no version in common: omit it`);
}
