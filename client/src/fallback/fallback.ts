import { CacheError, type ObjectInfo, type ObjectRef, parseObjectUrl, type Scheme } from "@frontcache/proto";
import type { Log } from "../client-log.js";
import type { BufferLanding } from "../members/block-landing.js";
import type { CircuitBreaker } from "../members/circuit-breaker.js";
import type { CallLimits, MemberAddress } from "../members/ports.js";
import type { ClientMetrics } from "../metrics.js";
import { type GcsFallback, GcsReads } from "./gcs-reads.js";
import type { OriginReads } from "./origin-reads.js";
import { type S3Fallback, S3Reads } from "./s3-reads.js";

/** The caller's own clients of the object stores. */
export interface FallbackOptions {
  /** An `S3` of `@aws-sdk/client-s3`, for `s3://` URLs. */
  readonly s3?: S3Fallback | undefined;
  /** A `Storage` of `@google-cloud/storage`, for `gs://` URLs. */
  readonly gcs?: GcsFallback | undefined;
}

/** Counts of what the object stores answered because no member did. */
export interface FallbackReport {
  /** Reads, each of one block or its rest. */
  readonly reads: number;
  readonly bytes: number;
  /** Reads and questions that failed there, too. */
  readonly failures: number;
}

export interface FallbackSettings {
  readonly options: FallbackOptions;
  /** Its keys are gRPC addresses. */
  readonly breaker: CircuitBreaker;
  readonly metrics: ClientMetrics | undefined;
  readonly log: Log | undefined;
}

/** Requests for one block's rest: SDKs retry requests, but not the body of an answer. */
const MOST_REQUESTS = 3;
const NO_SOURCE = { resume: (): void => undefined };

/**
 * Asks the object store if no member answers. While the circuits of all members of a block are open, members are only probed. The
 * first read after a successful probe goes to a member again.
 */
export class Fallback {
  readonly #settings: FallbackSettings;
  readonly #origins: ReadonlyMap<Scheme, OriginReads>;
  #isInUse = false;
  #reads = 0;
  #bytes = 0;
  #failures = 0;

  constructor(settings: FallbackSettings) {
    this.#settings = settings;
    const { s3, gcs } = settings.options;
    const origins = new Map<Scheme, OriginReads>();
    if (s3 !== undefined) origins.set("s3", new S3Reads(s3));
    if (gcs !== undefined) origins.set("gs", new GcsReads(gcs));
    this.#origins = origins;
  }

  get report(): FallbackReport {
    return { reads: this.#reads, bytes: this.#bytes, failures: this.#failures };
  }

  /** Reads the rest of a block's span at a member, or if none answers from the object store. */
  read(
    landing: BufferLanding,
    addresses: readonly MemberAddress[],
    limits: CallLimits,
    atMembers: () => Promise<void>,
  ): Promise<void> {
    return this.#ask(landing.pinned.url, addresses, limits, atMembers, async (object, origin) => {
      await this.#readRest(landing, object, origin, limits);
    });
  }

  /** Asks a member for an object's record, or if none answers the object store. */
  stat<Stat extends ObjectInfo>(
    url: string,
    version: string,
    addresses: readonly MemberAddress[],
    limits: CallLimits,
    atMembers: () => Promise<Stat>,
  ): Promise<Stat | ObjectInfo> {
    return this.#ask<Stat | ObjectInfo>(url, addresses, limits, atMembers, (object, origin) =>
      origin.stat(object, version, limits.signal),
    );
  }

  async #ask<Result>(
    url: string,
    addresses: readonly MemberAddress[],
    limits: CallLimits,
    atMembers: () => Promise<Result>,
    atOrigin: (object: ObjectRef, origin: OriginReads) => Promise<Result>,
  ): Promise<Result> {
    const object = parseObjectUrl(url);
    const origin = this.#origins.get(object.scheme);
    if (origin === undefined) return await atMembers();
    const { breaker } = this.#settings;
    let unavailable: CacheError | undefined;
    if (!addresses.every(({ grpcAddress }) => breaker.isOpen(grpcAddress))) {
      try {
        const result = await atMembers();
        this.#ended();
        return result;
      } catch (error) {
        if (limits.ended !== undefined || !isUnanswered(error)) throw error;
        unavailable = error;
      }
    }
    this.#started(unavailable);
    try {
      return await atOrigin(object, origin);
    } catch (error) {
      if (limits.ended !== undefined) throw limits.ended;
      throw this.#failed(url, error, unavailable);
    }
  }

  async #readRest(landing: BufferLanding, object: ObjectRef, origin: OriginReads, limits: CallLimits): Promise<void> {
    const { metrics } = this.#settings;
    const before = landing.landedBytes;
    for (let requests = 1; ; requests++) {
      try {
        await readInto(landing, object, origin, limits);
        break;
      } catch (thrown) {
        if (limits.ended !== undefined) throw limits.ended;
        const error = origin.failure(object, thrown);
        if (requests < MOST_REQUESTS && error.retryable && landing.landedBytes > before) continue;
        metrics?.partFailed("fallback", error);
        throw error;
      }
    }
    this.#reads++;
    this.#bytes += landing.landedBytes - before;
    metrics?.part("fallback", landing.landedBytes - before);
  }

  #started(error: CacheError | undefined): void {
    if (this.#isInUse) return;
    this.#isInUse = true;
    const message = `no member answers, reads go to the object store: ${error?.message ?? "all circuits are open"}`;
    this.#settings.log?.({ level: "warn", event: "fallback-started", message, error });
  }

  #ended(): void {
    if (!this.#isInUse) return;
    this.#isInUse = false;
    this.#settings.log?.({ level: "info", event: "fallback-ended", message: "members answer again, reads go to the cache" });
  }

  #failed(url: string, thrown: unknown, unavailable: CacheError | undefined): CacheError {
    const error = CacheError.from(thrown);
    // The object store's answer about the object is as good as a member's.
    if (!error.retryable && error.code !== "INTERNAL" && error.code !== "PERMISSION_DENIED") return error;
    this.#failures++;
    const message = `${error.message}; no member answered before: ${unavailable?.message ?? `${url}: all circuits are open`}`;
    this.#settings.log?.({ level: "warn", event: "fallback-failed", message, error });
    return new CacheError(error.code, message, { cause: error });
  }
}

/** Whether no member could answer, as opposed to one that answered with the origin's error. */
function isUnanswered(error: unknown): error is CacheError {
  return error instanceof CacheError && error.code === "UNAVAILABLE" && !error.isOriginTried;
}

/** Copies the bytes of one answer into the landing. */
async function readInto(landing: BufferLanding, object: ObjectRef, origin: OriginReads, limits: CallLimits): Promise<void> {
  const request = landing.nextRequest();
  const { version, objectSize, bytes } = await origin.read(object, request, limits.signal);
  landing.open({ version, objectSize }, NO_SOURCE);
  for await (const chunk of bytes) {
    if (limits.ended !== undefined) throw limits.ended;
    for (let at = 0; at < chunk.length && !landing.complete; ) {
      const room = landing.room();
      const copied = Math.min(room.length, chunk.length - at);
      room.set(chunk.subarray(at, at + copied));
      landing.landed(copied);
      at += copied;
    }
  }
  if (!landing.complete) throw new Error(`the answer ended ${landing.rest.length} bytes early`);
}
