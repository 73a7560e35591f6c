import {
  CacheError,
  type MemberInfo,
  memberToMessage,
  type ValueAnswer,
  type ValueCall,
  type ValueEntry,
} from "@frontcache/proto";
import type { Draft } from "./draft.js";
import type { HybridClock } from "./hybrid-clock.js";
import { Monitors } from "./monitors.js";
import { type Freshness, ValueCopies } from "./value-copies.js";
import type { KnownEntry } from "./value-entries.js";
import type { Refusal, ValueHolder } from "./value-holder.js";
import { answerOf, type Placement, type StepBytes, type ValueMembers } from "./value-members.js";
import { readPiece } from "./value-pieces.js";
import { READ_PIECE_BYTES } from "./value-reads.js";
import { parseValueUrl, type ValueEvent } from "./values.js";
import { ReceivedBodies } from "./write-memory.js";

/** A version that no value has: a member that is asked for it asks all others, even if it should know their changes. */
export const ANY_VERSION = "any";
/** How long another member may take for one step. */
export const CALL_TIMEOUT_MS = 30_000;
/** Versions that one answer names. */
const MOST_ENTRIES = 200;
/** URLs of one look-up: its request must be smaller than 256 KiB. */
export const MOST_URLS = 20;

export interface ValueServiceOptions {
  readonly holder: ValueHolder;
  readonly members: ValueMembers;
  readonly placement: Placement;
  readonly versions: HybridClock;
  readonly freshness: Freshness;
  /** Identifies this process. */
  readonly epoch: string;
  /** Aborted when the member closes. */
  readonly closing: AbortSignal;
}

/** Answers the steps that members ask of each other, and asks them: of this member without a call. */
export class ValueService {
  readonly monitors = new Monitors();
  readonly copies: ValueCopies;
  readonly bodies: ReceivedBodies;
  readonly #options: ValueServiceOptions;

  constructor(options: ValueServiceOptions) {
    this.#options = options;
    this.bodies = new ReceivedBodies(options.holder.blocks.geometry.segmentBytes);
    this.copies = new ValueCopies({ ...options, service: this });
  }

  /** One step at a member. */
  ask(member: MemberInfo, step: Partial<ValueCall>, signal: AbortSignal, timeoutMs = CALL_TIMEOUT_MS): Promise<ValueAnswer> {
    const { placement, members } = this.#options;
    if (placement.isSelf(member)) return this.answer({ name: members.self, ...step } as ValueCall, signal);
    return members.call(member, step, signal, timeoutMs);
  }

  /** One step with bytes at a member. It has no timeout. */
  send(member: MemberInfo, step: Partial<ValueCall>, bytes: StepBytes, signal: AbortSignal): Promise<ValueAnswer> {
    const { placement, members } = this.#options;
    if (placement.isSelf(member)) return this.answer({ name: members.self, ...step } as ValueCall, signal, bytes);
    return members.send(member, step, bytes, signal);
  }

  /** Answers a step that another member asks. `bytes`: those of the step, if they are not in it. */
  async answer(call: ValueCall, signal: AbortSignal, bytes?: StepBytes): Promise<ValueAnswer> {
    const { holder } = this.#options;
    if (call.lookUp !== undefined) return this.#lookUp(call.lookUp);
    if (call.begin !== undefined) return this.#begin(call.begin, signal, bytes);
    if (call.write !== undefined) {
      const { url, version, offset, data, stamp = "" } = call.write;
      const draft = this.#draft(url, version);
      await draft.writeAll(offset, bytes ?? data, stamp);
      if (version !== "") return answerOf({});
      return answerOf({ present: draft.segments.spans.present(), upload: draft.entry, members: [...draft.options.members] });
    }
    if (call.missed !== undefined) {
      const { url, range } = call.missed;
      if (range !== undefined) this.#draft(url, "").writes.missed(range);
      return answerOf({});
    }
    if (call.commit !== undefined) return this.#commit(call.commit);
    if (call.abandon !== undefined) {
      const { url, version } = call.abandon;
      const draft = holder.drafts.get(url, version);
      if (draft !== undefined) await holder.drafts.abandon(draft, new CacheError("CANCELLED", `${url}: the write was aborted`));
      return answerOf({});
    }
    if (call.read !== undefined) return this.#read(call.read, signal);
    if (call.offer !== undefined) return this.#offer(call.name, call.offer);
    if (call.changes !== undefined) return this.#changes(call.name, call.changes);
    if (call.list !== undefined) return this.#list(call.list);
    if (call.lock !== undefined) {
      const { url, holder: client, seconds } = call.lock;
      await this.copies.ensure(url, signal);
      return answerOf({ endsMs: holder.lock(url, client, seconds) });
    }
    throw new CacheError("INVALID_ARGUMENT", "a call about values without a step: run the same version on all members");
  }

  /** Reports an event of a request that this member took. */
  report(event: ValueEvent): void {
    this.monitors.report(event);
  }

  #lookUp({ urls, hash }: NonNullable<ValueCall["lookUp"]>): ValueAnswer {
    const { holder, freshness, members, placement } = this.#options;
    const entries = urls.slice(0, MOST_URLS).flatMap((url) => {
      const known = holder.entries.get(url);
      return known === undefined ? [] : [{ ...known.entry, present: holder.readable(url)?.sequence === known.sequence }];
    });
    const upload = urls[0] === undefined ? undefined : holder.drafts.uploadOf(urls[0]);
    const isOtherList = urls[0] !== undefined && hash !== undefined && hash !== members.hash;
    return answerOf({
      entries,
      hash: members.hash,
      holders: isOtherList ? placement.holders(urls[0]!).map(memberToMessage) : [],
      uninformed: freshness.isUninformed,
      upload: upload?.entry,
      present: upload?.segments.spans.present() ?? [],
      sequence: upload?.writes.count ?? 0,
      digest: upload?.writes.digest ?? "",
      alone: [...(upload?.writes.alone ?? [])],
      members: [...(upload?.options.members ?? [])],
    });
  }

  async #begin(begin: NonNullable<ValueCall["begin"]>, signal: AbortSignal, bytes?: StepBytes): Promise<ValueAnswer> {
    const { holder, versions } = this.#options;
    const { entry, upload: isUpload, sized: isSized, exclusive: isExclusive, whole, data, members } = begin;
    if (entry === undefined) throw new CacheError("INVALID_ARGUMENT", "a write of a value without an entry");
    parseValueUrl(entry.url);
    versions.observe(entry.version);
    const whileWritten = begin.whileWritten === "refuse" || begin.whileWritten === "wait" ? begin.whileWritten : "";
    const begun = await holder.begin({ entry, isSized, isUpload, isCopy: false, isExclusive, members, whileWritten }, signal);
    if ("conflict" in begun) return this.#refused(entry.url, begun);
    if (!whole) return answerOf({});
    try {
      const size = await begun.writeAll(0, bytes ?? data);
      const refusal = await holder.commit(begun, { version: entry.version, size });
      if (refusal === undefined) return answerOf({});
      await holder.drafts.abandon(begun, new CacheError("CANCELLED", `${entry.url}: the write was refused`));
      return this.#refused(entry.url, refusal);
    } catch (error) {
      await holder.drafts.abandon(begun, CacheError.from(error));
      throw error;
    }
  }

  async #commit(commit: NonNullable<ValueCall["commit"]>): Promise<ValueAnswer> {
    const { holder, versions } = this.#options;
    const { url, version, upload, expires, expiresMs } = commit;
    versions.observe(version);
    const draft = this.#draft(url, upload ? "" : version);
    const size = draft.options.isSized ? draft.entry.size : commit.size;
    const refusal = await holder.commit(draft, { version, size, expiresMs: expires ? expiresMs : undefined });
    return refusal === undefined ? answerOf({ upload: draft.entry }) : this.#refused(url, refusal);
  }

  #refused(url: string, { conflict, completion }: Refusal): ValueAnswer {
    const largest = this.#options.holder.entries.get(url)?.entry.version ?? "";
    const upload = this.#options.holder.drafts.uploadOf(url)?.entry;
    return answerOf({ conflict, largest, present: [...(completion?.present ?? [])], upload });
  }

  async #read(
    { url, version, offset, length, follow, upload: isUpload = false }: NonNullable<ValueCall["read"]>,
    signal: AbortSignal,
  ): Promise<ValueAnswer> {
    const { holder } = this.#options;
    if (isUpload) {
      const data = await this.#draft(url, "").segments.read(offset, Math.min(length, READ_PIECE_BYTES));
      if (data === undefined) throw new CacheError("UNAVAILABLE", `${url}: bytes of the upload at offset ${offset} are gone`);
      return answerOf({ data });
    }
    const isFollowing = follow && (version === "" ? holder.drafts.writerOf(url) : holder.drafts.get(url, version)) !== undefined;
    if (!isFollowing) {
      const known = holder.readable(url);
      // A read that has begun continues with its version, whatever the newest one is.
      const hasFound = version !== "" && (known?.entry.version === version || offset > 0);
      const bring = (): Promise<KnownEntry | undefined> | KnownEntry | undefined =>
        version === "" ? this.copies.ensure(url, signal) : this.copies.catchUp(url, signal);
      const found = hasFound ? known : await bring();
      if (length === 0) {
        if (found === undefined) throw new CacheError("NOT_FOUND", `${url}: no such value`);
        return answerOf({ entries: [found.entry], size: found.entry.size });
      }
    }
    const most = Math.min(length, READ_PIECE_BYTES);
    const { entry, data, ended, size } = await readPiece(holder, { url, version, offset, most, follow }, signal);
    return answerOf({ entries: [entry], data: Buffer.from(data.buffer, data.byteOffset, data.length), ended, size });
  }

  async #offer(name: string, { entries, client: isClient, hash }: NonNullable<ValueCall["offer"]>): Promise<ValueAnswer> {
    const { holder, versions, freshness } = this.#options;
    if (hash !== undefined) freshness.hasList(name, hash);
    let [existed, largest] = [false, ""];
    for (const entry of entries) {
      parseValueUrl(entry.url);
      versions.observe(entry.version);
      if (isClient && holder.locks.isLocked(entry.url)) return answerOf({ conflict: "locked" });
      const offered = await holder.offer(entry);
      existed ||= offered.existed;
      if (offered.largest > largest) largest = offered.largest;
    }
    return answerOf({ existed, largest });
  }

  #changes(name: string, { epoch, sequence: after, hash }: NonNullable<ValueCall["changes"]>): ValueAnswer {
    const { holder, placement, members, freshness, epoch: own } = this.#options;
    const common = { hash: members.hash, uninformed: freshness.isUninformed };
    const isFiltered = hash === placement.state.hash;
    const entries: ValueEntry[] = [];
    let sequence = epoch === own ? after : 0;
    let looked = 0;
    for (const known of holder.entries.changedAfter(sequence)) {
      if (entries.length === MOST_ENTRIES || looked++ === MOST_LOOKED) {
        return answerOf({ entries, sequence, epoch: own, ended: false, ...common });
      }
      if (!isFiltered || placement.isHolderNamed(known.entry.url, name)) entries.push(known.entry);
      sequence = known.sequence;
    }
    return answerOf({ entries, sequence: Math.max(sequence, epoch === own ? after : 0), epoch: own, ended: true, ...common });
  }

  #list({ bucket, prefix, after, limit }: NonNullable<ValueCall["list"]>): ValueAnswer {
    const { holder } = this.#options;
    const root = `cache://${bucket}/`;
    const entries: ValueEntry[] = [];
    const most = Math.min(Math.max(1, limit), MOST_ENTRIES);
    for (const { entry } of holder.entries.listed(root + prefix, after === "" ? "" : root + after)) {
      if (entries.length === most) return answerOf({ entries, ended: false });
      entries.push(entry);
    }
    return answerOf({ entries, ended: true });
  }

  #draft(url: string, version: string): Draft {
    const draft = this.#options.holder.drafts.get(url, version);
    if (draft !== undefined) return draft;
    const what = version === "" ? "no upload is running" : "the write has ended";
    throw new CacheError("NOT_FOUND", `${url}: ${what}`);
  }
}

/** Entries that one answer about changes looks at. */
const MOST_LOOKED = 20_000;
