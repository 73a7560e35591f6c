import { isRefused } from "@frontcache/client/members";
import { CacheError, type MemberInfo, type ValueAnswer, type ValueMissed } from "@frontcache/proto";
import type { HybridClock } from "./hybrid-clock.js";
import { type StampedSpan, StampedSpans } from "./stamped-spans.js";
import type { Sent } from "./step-sending.js";
import type { Placement, ValueMembers } from "./value-members.js";
import type { ValueService } from "./value-service.js";

export interface UploadHoldersOptions {
  readonly service: ValueService;
  readonly placement: Placement;
  readonly members: ValueMembers;
  readonly versions: HybridClock;
}

/** Which members can complete an upload. */
export interface Completing {
  /** Members with equal bytes, the newest ones of all writes. */
  readonly current: readonly MemberInfo[];
  /** Members that have missed a write: their upload may look complete, and has old bytes. */
  readonly outdated: readonly MemberInfo[];
}

/** What a member has of an upload. */
interface Part {
  readonly member: MemberInfo;
  readonly answer: ValueAnswer;
}

/**
 * Finds the newest bytes of an upload whose members may have missed writes. Each write that some of them have missed is noted at the others
 * before it is acknowledged.
 */
export class UploadHolders {
  readonly #options: UploadHoldersOptions;

  constructor(options: UploadHoldersOptions) {
    this.#options = options;
  }

  /** Notes a write at the members that took it if others of the upload did not. Rejects if no member can note it. */
  async noteMissed(answered: Sent["answered"], missed: ValueMissed, signal: AbortSignal): Promise<void> {
    const began = new Set(answered.flatMap(({ answer }) => answer.members));
    for (const { member } of answered) began.delete(member.name);
    if (began.size === 0 || missed.range!.end === missed.range!.start) return;
    const noting = answered.map(({ member }) => this.#options.service.ask(member, { missed }, signal));
    const noted = await Promise.allSettled(noting);
    if (noted.some(({ status }) => status === "fulfilled")) return;
    throw new CacheError("UNAVAILABLE", `${missed.url}: the members that took the bytes are lost: write them again`);
  }

  /**
   * Resolves with the members that have all writes. If none has, one of them copies ranges from the others. Rejects with UNAVAILABLE if a
   * member of the upload does not answer: it may have newer bytes than all others.
   */
  async withAllWrites(url: string, signal: AbortSignal): Promise<Completing> {
    const { placement, members } = this.#options;
    const holders = placement.holders(url);
    const asked = await this.#ask(url, holders, signal);
    const began = new Set(asked.parts.flatMap(({ answer }) => answer.members));
    const others = members.members.filter(({ name }) => began.has(name) && !holders.some((holder) => holder.name === name));
    const further = await this.#ask(url, others, signal);
    const silent = [...asked.silent, ...further.silent].find(({ name }) => began.has(name));
    if (silent !== undefined) {
      throw new CacheError(
        "UNAVAILABLE",
        `${url}: member ${silent.name} does not answer, and may have newer bytes of the upload`,
      );
    }
    const parts = [...asked.parts, ...further.parts];
    const first = parts[0]?.answer;
    const isEqual = parts.every(({ answer }) => answer.digest === first?.digest && answer.alone.length === 0);
    if (isEqual) return { current: [...holders, ...further.parts.map(({ member }) => member)], outdated: [] };
    const source = await this.#merged(url, parts, signal);
    const outdated = [...holders, ...others].filter((member) => member !== source);
    return { current: [source], outdated };
  }

  /** Brings the newest bytes of all ranges to one member. Resolves with it. */
  async #merged(url: string, parts: readonly Part[], signal: AbortSignal): Promise<MemberInfo> {
    const alone = (part: Part): StampedSpans => {
      const spans = new StampedSpans();
      for (const span of part.answer.alone) spans.add(span);
      return spans;
    };
    const rank = (part: Part): number => alone(part).bytes;
    const [source, ...others] = [...parts].sort((a, b) => rank(b) - rank(a) || b.answer.sequence - a.answer.sequence);
    const newest = alone(source!);
    const isUnknown = (part: Part): boolean => part.answer.alone.some(({ stamp }) => stamp === "");
    if (parts.some(isUnknown) && parts.filter(({ answer }) => answer.alone.length > 0).length > 1) {
      throw new CacheError("UNAVAILABLE", `${url}: members have missed too many writes of each other: abort the upload`);
    }
    for (const { member, answer } of others) {
      for (const span of answer.alone) {
        for (const part of newest.olderThan(span)) await this.#copy(url, part, member, source!.member, signal);
        newest.add(span);
      }
    }
    return source!.member;
  }

  /** Copies a range of the upload from one member to another. */
  async #copy(url: string, { start, end }: StampedSpan, from: MemberInfo, to: MemberInfo, signal: AbortSignal): Promise<void> {
    const { service, versions } = this.#options;
    for (let at = start; at < end; ) {
      const read = { url, version: "", offset: at, length: Math.min(end - at, PIECE_BYTES), follow: false, upload: true };
      const { data } = await service.ask(from, { read }, signal);
      await service.ask(to, { write: { url, version: "", offset: at, data, stamp: versions.next() } }, signal);
      at += data.length;
    }
  }

  /** Asks members what they have of the upload. `silent`: may run, and have not answered. */
  async #ask(
    url: string,
    members: readonly MemberInfo[],
    signal: AbortSignal,
  ): Promise<{ readonly parts: readonly Part[]; readonly silent: readonly MemberInfo[] }> {
    const silent: MemberInfo[] = [];
    const parts = await Promise.all(
      members.map(async (member) => {
        try {
          const answer = await this.#options.service.ask(member, { lookUp: { urls: [url] } }, signal, LOOK_UP_TIMEOUT_MS);
          return answer.upload === undefined ? [] : [{ member, answer }];
        } catch (error) {
          if (!isRefused(error)) silent.push(member);
          return [];
        }
      }),
    );
    signal.throwIfAborted();
    return { parts: parts.flat(), silent };
  }
}

/** Bytes of one step: members take requests of at most 256 KiB. */
const PIECE_BYTES = 128 << 10;
/** A member that does not answer in this time counts as unreachable. */
const LOOK_UP_TIMEOUT_MS = 5_000;
