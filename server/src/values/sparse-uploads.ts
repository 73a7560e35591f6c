import { CacheError, type MemberInfo, type ValueAnswer } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { watched } from "./body-tee.js";
import type { HolderCalls } from "./holder-calls.js";
import type { HybridClock } from "./hybrid-clock.js";
import { SpanSet } from "./span-set.js";
import { type Sent, sendToAll } from "./step-sending.js";
import { UploadHolders } from "./upload-holders.js";
import type { ValueBuckets } from "./value-buckets.js";
import { entryOf, expiryOf } from "./value-entry.js";
import type { Placement, StepBytes, ValueMembers } from "./value-members.js";
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
  readonly members: ValueMembers;
  readonly versions: HybridClock;
  readonly clock: Clock;
}

/** Uploads of values whose ranges any members take in any order. The holders have them; this member asks for the steps. */
export class SparseUploads {
  readonly counts = { bytesWritten: 0 };
  readonly #options: SparseUploadsOptions;
  readonly #holders: UploadHolders;

  constructor(options: SparseUploadsOptions) {
    this.#options = options;
    this.#holders = new UploadHolders(options);
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
    const { buckets, calls, service, placement, versions, clock } = this.#options;
    const { isPinned } = buckets.of(url);
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new CacheError("INVALID_ARGUMENT", `${url}: ${offset} is not an offset: use a whole number from 0 on`);
    }
    let length = 0;
    const count = (piece: Uint8Array): void => {
      length += piece.length;
      this.counts.bytesWritten += piece.length;
    };
    const stamp = versions.next();
    const write = { url, version: "", offset, data: Buffer.alloc(0), stamp };
    const send = async (sent: StepBytes): Promise<Sent> => {
      const written = await sendToAll(placement.holders(url), { write }, sent, { service, clock, signal });
      const full = isPinned === true ? written.failed.find(({ error }) => error.code === "RESOURCE_EXHAUSTED") : undefined;
      if (full !== undefined) throw full.error;
      return written;
    };
    const finish = async ({ answered, failed }: Sent): Promise<Completion> => {
      const answers = calls.atLeastOne(url, answered, failed);
      await this.#holders.noteMissed(answered, { url, range: { start: offset, end: offset + length, stamp } }, signal);
      return completionOf(answers);
    };
    if (bytes instanceof Uint8Array) {
      count(bytes);
      return finish(await send(bytes));
    }
    const received = service.bodies.inSegments(bytes, offset);
    let isFree = false;
    try {
      const sent = await send(watched(received.bytes, count));
      isFree = sent.failed.length === 0;
      return await finish(sent);
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
    const { buckets, calls, service, placement, versions, clock } = this.#options;
    const { url, ttlSeconds, signal } = request;
    buckets.forWrite(request);
    const version = versions.next();
    const expiresMs = ttlSeconds === undefined ? 0 : expiryOf(ttlSeconds, clock.nowMs());
    const commit = { url, version, size: 0, expires: ttlSeconds !== undefined, expiresMs, upload: true };
    const { current, outdated } = await this.#holders.withAllWrites(url, signal);
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
    const info = await calls.written(finalized, { written, failed: missed, behind, draft: "" });
    // The value is to have all copies when it is acknowledged. Those that fail now are made later.
    const lacking = placement.holders(url).filter(({ name }) => !written.some((member) => member.name === name));
    const read = { url, version: "", offset: 0, length: 0, follow: false };
    await Promise.allSettled(lacking.map((member) => service.ask(member, { read }, signal)));
    return info;
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
