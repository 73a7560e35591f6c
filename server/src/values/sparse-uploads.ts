import { CacheError, type MemberInfo, type ValueAnswer } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { watched } from "./body-tee.js";
import type { HolderCalls } from "./holder-calls.js";
import type { HybridClock } from "./hybrid-clock.js";
import { SpanSet } from "./span-set.js";
import { type Sent, sendToAll } from "./step-sending.js";
import type { ValueBuckets } from "./value-buckets.js";
import { entryOf, expiryOf } from "./value-entry.js";
import type { Placement, StepBytes } from "./value-members.js";
import { MOST_ATTEMPTS } from "./value-puts.js";
import type { ValueService } from "./value-service.js";
import { conflictOf, OlderVersion, ValueWriter } from "./value-writer.js";
import {
  type BeginRequest,
  type Completion,
  type ConflictReason,
  checkSize,
  type ValueInfo,
  type ValueRequest,
} from "./values.js";

export interface SparseUploadsOptions {
  readonly buckets: ValueBuckets;
  readonly calls: HolderCalls;
  readonly service: ValueService;
  readonly placement: Placement;
  readonly versions: HybridClock;
  readonly clock: Clock;
}

/** Uploads of values whose ranges any members take in any order. The holders have them; this member asks for the steps. */
export class SparseUploads {
  readonly counts = { bytesWritten: 0 };
  readonly #options: SparseUploadsOptions;

  constructor(options: SparseUploadsOptions) {
    this.#options = options;
  }

  /** As `Values.begin`. */
  async begin(request: BeginRequest): Promise<void> {
    const { buckets, service, placement, versions, clock } = this.#options;
    const { url, size, exclusive, signal } = request;
    const bucket = buckets.forWrite(request);
    checkSize(url, size, 1);
    for (let attempt = 1; ; attempt++) {
      const entry = entryOf({ url, version: versions.next(), size, nowMs: clock.nowMs() }, request, bucket.ttlSeconds);
      const how = {
        isSized: true,
        isExclusive: exclusive,
        isUpload: true,
        whileWritten: undefined,
        isStrict: bucket.isPinned === true,
      };
      try {
        await new ValueWriter({ service, clock, signal, entry, holders: placement.holders(url), ...how }).begin();
        service.report({ event: "insert", url });
        return;
      } catch (error) {
        if (!(error instanceof OlderVersion) || attempt === MOST_ATTEMPTS) throw error;
        versions.observe(error.largest);
      }
    }
  }

  /** As `Values.writeRange`. */
  async writeRange(
    { url, signal }: ValueRequest,
    offset: number,
    bytes: Uint8Array | AsyncIterable<Uint8Array>,
  ): Promise<Completion> {
    const { buckets, calls, service, placement, clock } = this.#options;
    const { isPinned } = buckets.of(url);
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new CacheError("INVALID_ARGUMENT", `${url}: ${offset} is not an offset: use a whole number from 0 on`);
    }
    const count = ({ length }: Uint8Array): void => {
      this.counts.bytesWritten += length;
    };
    const write = { url, version: "", offset, data: Buffer.alloc(0) };
    const send = async (sent: StepBytes): Promise<Sent> => {
      const written = await sendToAll(placement.holders(url), { write }, sent, { service, clock, signal });
      const full = isPinned === true ? written.failed.find(({ error }) => error.code === "RESOURCE_EXHAUSTED") : undefined;
      if (full !== undefined) throw full.error;
      return written;
    };
    if (bytes instanceof Uint8Array) {
      count(bytes);
      const { answered, failed } = await send(bytes);
      return completionOf(calls.atLeastOne(url, answered, failed));
    }
    const received = service.bodies.inSegments(bytes, offset);
    let isFree = false;
    try {
      const { answered, failed } = await send(watched(received.bytes, count));
      isFree = failed.length === 0;
      return completionOf(calls.atLeastOne(url, answered, failed));
    } finally {
      received.release(isFree);
    }
  }

  /** As `Values.completion`. */
  async completion({ url, signal }: ValueRequest): Promise<Completion | undefined> {
    const { buckets, calls } = this.#options;
    buckets.of(url);
    const answers = await calls.all(url, { lookUp: { urls: [url] } }, signal);
    const running = answers.filter(({ upload }) => upload !== undefined);
    return running.length === 0 ? undefined : completionOf(running);
  }

  /** As `Values.finalize`. */
  async finalize(request: ValueRequest & { readonly ttlSeconds?: number | undefined }): Promise<ValueInfo> {
    const { buckets, calls, versions, clock } = this.#options;
    const { url, ttlSeconds, signal } = request;
    buckets.forWrite(request);
    const version = versions.next();
    const expiresMs = ttlSeconds === undefined ? 0 : expiryOf(ttlSeconds, clock.nowMs());
    const commit = { url, version, size: 0, expires: ttlSeconds !== undefined, expiresMs, upload: true };
    const { current, outdated } = await this.#holders(url, signal);
    const { answered, failed } = await calls.inOrder(current, { commit }, signal, isRefusedByAll);
    const answers = calls.atLeastOne(url, answered, failed);
    const done = answers.find(({ conflict }) => conflict === "");
    if (done?.upload === undefined) {
      const { conflict } = answers.at(-1)!;
      throw conflictOf(url, conflict as ConflictReason, conflict === "incomplete" ? completionOf(answers) : undefined);
    }
    const membersWith = (isMeant: (conflict: string) => boolean): MemberInfo[] =>
      answered.filter(({ answer }) => isMeant(answer.conflict)).map(({ member }) => member);
    // A member that failed, missed a write or lacks bytes copies the value. What another request finalizes is not aborted.
    const unable = [...outdated, ...failed.map(({ member }) => member)];
    const missed = [...unable, ...membersWith((conflict) => conflict !== "")];
    const behind = [...unable, ...membersWith((conflict) => conflict !== "" && conflict !== "finalizing")];
    const entry = { ...done.upload, version, present: true };
    const finalized = ttlSeconds === undefined ? entry : { ...entry, expiresMs };
    const written = membersWith((conflict) => conflict === "");
    return calls.written(finalized, { written, failed: missed, behind, draft: "" });
  }

  /**
   * Asks the holders how many writes they have. One that has fewer than another one missed a write, perhaps of bytes that it had already:
   * its upload looks complete, and has old bytes.
   */
  async #holders(
    url: string,
    signal: AbortSignal,
  ): Promise<{ readonly current: readonly MemberInfo[]; readonly outdated: readonly MemberInfo[] }> {
    const { service, placement } = this.#options;
    const holders = placement.holders(url);
    const writes = await Promise.all(
      holders.map(async (member) => {
        const answer = await service.ask(member, { lookUp: { urls: [url] } }, signal).catch(() => undefined);
        return answer?.upload === undefined ? undefined : answer.sequence;
      }),
    );
    signal.throwIfAborted();
    const most = Math.max(0, ...writes.map((count) => count ?? 0));
    const outdated = holders.filter((_, at) => (writes[at] ?? most) < most);
    return { current: holders.filter((member) => !outdated.includes(member)), outdated };
  }

  /** As `Values.abort`. */
  async abort({ url }: ValueRequest): Promise<void> {
    const { buckets, calls } = this.#options;
    buckets.of(url);
    // The client's request may have been aborted, too.
    const { signal } = new AbortController();
    await calls.all(url, { abandon: { url, version: "" } }, signal);
  }
}

/** Whether the first holder decides against finalizing: then no other one is asked. */
function isRefusedByAll({ conflict }: ValueAnswer): boolean {
  return conflict === "finalizing" || conflict === "locked";
}

/** What all members have of an upload. */
function completionOf(answers: readonly ValueAnswer[]): Completion {
  const size = Math.max(0, ...answers.map(({ upload }) => upload?.size ?? 0));
  const missing = new SpanSet();
  for (const { present } of answers) {
    const spans = new SpanSet();
    for (const { start, end } of present) spans.add(start, end);
    for (const { start, end } of spans.missing(size)) missing.add(start, end);
  }
  const both = new SpanSet();
  for (const { start, end } of missing.missing(size)) both.add(start, end);
  return both.completion(size);
}
