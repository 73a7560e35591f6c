import { CacheError } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { HolderCalls } from "./holder-calls.js";
import type { HybridClock } from "./hybrid-clock.js";
import type { ValueBuckets } from "./value-buckets.js";
import { deletedEntry, entryOf } from "./value-entry.js";
import type { Placement, StepBytes } from "./value-members.js";
import type { ValueService } from "./value-service.js";
import { conflictOf, OlderVersion, ValueWriter } from "./value-writer.js";
import { type ConflictReason, checkSize, type PutRequest, type ValueInfo, type ValueRequest } from "./values.js";
import { WHOLE_BYTES } from "./write-memory.js";

/** A write is repeated as often with a larger version. */
export const MOST_ATTEMPTS = 5;

export interface ValuePutsOptions {
  readonly buckets: ValueBuckets;
  readonly calls: HolderCalls;
  readonly service: ValueService;
  readonly placement: Placement;
  readonly versions: HybridClock;
  readonly clock: Clock;
}

interface Put {
  readonly info: ValueInfo;
  readonly isTakenByAll: boolean;
}

/** Whole values that clients write and delete. */
export class ValuePuts {
  readonly counts = { bytesWritten: 0, deletes: 0 };
  readonly #options: ValuePutsOptions;

  constructor(options: ValuePutsOptions) {
    this.#options = options;
  }

  /** As `Values.put`. */
  async put(request: PutRequest, body: Uint8Array | AsyncIterable<Uint8Array>): Promise<ValueInfo> {
    const { buckets, service } = this.#options;
    buckets.forWrite(request);
    const size = sizeOf(request, body);
    if (body instanceof Uint8Array) return (await this.#put(request, body, size)).info;
    const { bodies } = service;
    const whole = size !== undefined && size <= WHOLE_BYTES ? await bodies.whole(request.url, body, size) : undefined;
    const received = whole ?? bodies.inSegments(body, 0);
    let isFree = false;
    try {
      const put = await this.#put(request, received.bytes, size);
      isFree = put.isTakenByAll;
      return put.info;
    } finally {
      received.release(isFree);
    }
  }

  /** Writes a body. `isTakenByAll`: no member uses its memory any more. */
  async #put(request: PutRequest, body: StepBytes, size: number | undefined): Promise<Put> {
    const { buckets, service, placement, versions, clock, calls } = this.#options;
    const { url, ifNoneMatch, whileWritten, signal } = request;
    const bucket = buckets.forWrite(request);
    // In a pinned bucket all members say that they have space before the first one has the value.
    const whole = body instanceof Uint8Array && body.length <= WHOLE_BYTES && !bucket.isPinned ? body : undefined;
    let hasReported = false;
    for (let attempt = 1; ; attempt++) {
      const named = { url, version: versions.next(), size: size ?? 0, nowMs: clock.nowMs() };
      const entry = entryOf(named, request, bucket.ttlSeconds);
      const [holders, isSized, isExclusive] = [placement.holders(url), size !== undefined, ifNoneMatch === "*"];
      const how = { isSized, isUpload: false, isExclusive, whileWritten, isStrict: bucket.isPinned === true };
      const writer = new ValueWriter({ service, clock, signal, entry, holders, ...how });
      try {
        await writer.begin(whole);
      } catch (error) {
        if (!(error instanceof OlderVersion) || attempt === MOST_ATTEMPTS) throw error;
        if (error.largest !== "") versions.observe(error.largest);
        continue;
      }
      if (!hasReported) service.report({ event: "insert", url });
      hasReported = true;
      const written = whole === undefined ? await sendAll(writer, body) : whole.length;
      this.counts.bytesWritten += written;
      const isTakenByAll = attempt === 1 && writer.failed.length === 0;
      const { failed } = writer;
      const outcome = { written: writer.written, failed, behind: failed, draft: entry.version };
      const info = await calls.written({ ...entry, size: written, present: true }, outcome);
      return { info, isTakenByAll };
    }
  }

  /** As `Values.delete`. */
  async delete({ url, signal }: ValueRequest): Promise<boolean> {
    const { buckets, calls, service, versions } = this.#options;
    buckets.of(url);
    for (let attempt = 1; ; attempt++) {
      const version = versions.next();
      const offer = { entries: [deletedEntry(url, version)], client: true };
      const answers = await calls.all(url, { offer }, signal, true);
      const refused = answers.find(({ conflict }) => conflict !== "");
      if (refused !== undefined) throw conflictOf(url, refused.conflict as ConflictReason);
      const largest =
        answers
          .map((answer) => answer.largest)
          .sort()
          .at(-1) ?? "";
      if (largest > version && attempt < MOST_ATTEMPTS) {
        versions.observe(largest);
        continue;
      }
      const existed = answers.some((answer) => answer.existed);
      if (existed) {
        this.counts.deletes++;
        service.report({ event: "delete", url });
      }
      return existed;
    }
  }
}

/** The size of a body, if it is known. Throws INVALID_ARGUMENT. */
function sizeOf({ url, size }: PutRequest, body: Uint8Array | AsyncIterable<Uint8Array>): number | undefined {
  const known = body instanceof Uint8Array ? body.length : size;
  if (known !== undefined) checkSize(url, known, 0);
  if (size === undefined || size === known) return known;
  throw new CacheError("INVALID_ARGUMENT", `${url}: the body has ${known} bytes instead of ${size}`);
}

/** Sends a body of more than one piece, and completes the value. Resolves with its size. */
async function sendAll(writer: ValueWriter, body: StepBytes): Promise<number> {
  try {
    const written = await writer.send(body);
    await writer.commit(written);
    return written;
  } catch (error) {
    await writer.abandon();
    throw CacheError.from(error);
  }
}
