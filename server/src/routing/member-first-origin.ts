import { blockOffsetOf, CacheError, type Geometry, type MemberInfo, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import type { Origin, OriginAnswer, OriginRange } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import { ForwardedRead } from "./forwarded-read.js";
import type { MemberLink } from "./member-link.js";

export interface MemberFirstOptions {
  readonly origin: Origin;
  readonly geometry: Geometry;
  readonly clock: Clock;
  /** Members that may hold a block, the likeliest first: its last owner, the next on the ring. Never this one. */
  candidates(url: string, blockOffset: number): readonly MemberInfo[];
  linkTo(member: MemberInfo): MemberLink;
  isAside(member: MemberInfo): boolean;
}

/**
 * How long a connected member may take over its first bytes: it either holds them or says so at once, so whoever takes longer
 * is busy, and the origin is the better choice. What a fill can lose to a slow member.
 */
const ANSWER_WITHIN_MS = 10;
/** How long a member's bytes may stand still before the origin takes over. */
const IDLE_MS = 500;
/** Members asked for one part. */
const MAX_ASKED = 2;

/**
 * An origin that other members are asked before: after a scale-out, a scale-in or a restart the bytes are nearly always held
 * by the block's last owner or the next on the ring. What they don't hold, or hold too slowly, comes from the real origin.
 */
export class MemberFirstOrigin implements Origin {
  constructor(private readonly options: MemberFirstOptions) {}

  async fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer> {
    const { candidates, isAside, geometry, origin } = this.options;
    const asked = candidates(ref.url, blockOffsetOf(range.offset, geometry)).filter((member) => !isAside(member));
    for (const member of asked.slice(0, MAX_ASKED)) {
      const answer = await this.#ask(member, ref, range, signal).catch(() => undefined);
      if (answer !== undefined) return answer;
      signal.throwIfAborted();
    }
    return origin.fetch(ref, range, signal);
  }

  stat(ref: ObjectRef, signal: AbortSignal): Promise<ObjectInfo> {
    return this.options.origin.stat(ref, signal);
  }

  close(): void {
    this.options.origin.close();
  }

  /** The member's answer, or undefined where it has none in time. */
  async #ask(member: MemberInfo, ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer | undefined> {
    const link = this.options.linkTo(member);
    if (!link.connected) await link.connect();
    const late = new AbortController();
    const cancel = this.options.clock.after(ANSWER_WITHIN_MS, () => late.abort(new CacheError("CANCELLED", "too slow")));
    const leave = new AbortController();
    const ends = AbortSignal.any([signal, late.signal, leave.signal]);
    try {
      const read = await this.#open(link, ref, range, ends);
      cancel();
      const info = await this.#describe(link, ref, range, read, signal);
      if (info === undefined) {
        read.close();
        return undefined;
      }
      return { info, length: read.length, body: this.#body(ref, range, info, read, signal), destroy: () => leave.abort() };
    } finally {
      cancel();
    }
  }

  #open(link: MemberLink, ref: ObjectRef, { offset, length, version }: OriginRange, signal: AbortSignal): Promise<ForwardedRead> {
    const blockOffset = blockOffsetOf(offset, this.options.geometry);
    const start = offset - blockOffset;
    return ForwardedRead.open(link, {
      ref,
      version,
      blockOffset,
      start,
      end: start + length,
      openEnded: false,
      cachedOnly: true,
      signal,
    });
  }

  /**
   * What the wire leaves out: type and time. Without a version asked for, only the origin may say which is current: a member's
   * belief may be as old as `--revalidate-after`, and passing it on would make it older.
   */
  async #describe(
    link: MemberLink,
    ref: ObjectRef,
    range: OriginRange,
    read: ForwardedRead,
    signal: AbortSignal,
  ): Promise<ObjectInfo | undefined> {
    const { version } = read.info;
    const info =
      range.version === undefined ? await this.options.origin.stat(ref, signal) : await link.stat(ref.url, version, IDLE_MS);
    return info.version === version && info.objectSize === read.info.objectSize ? info : undefined;
  }

  /** The member's bytes; where they break off or stand still, the rest comes from the origin. */
  async *#body(
    ref: ObjectRef,
    range: OriginRange,
    info: ObjectInfo,
    read: ForwardedRead,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    let received = 0;
    try {
      for (;;) {
        const slice = await this.#nextInTime(read);
        if (slice === undefined) break;
        received += slice.bytes.length;
        yield slice.bytes;
        slice.release();
      }
    } finally {
      read.close();
    }
    if (received === read.length) return;
    const rest = { offset: range.offset + received, length: read.length - received, version: info.version };
    const answer = await this.options.origin.fetch(ref, rest, signal);
    try {
      yield* answer.body;
    } finally {
      answer.destroy();
    }
  }

  /** The next slice; undefined at the end and where the member is lost or too slow. */
  #nextInTime(read: ForwardedRead): Promise<{ bytes: Buffer; release(): void } | undefined> {
    return new Promise((resolve) => {
      const cancel = this.options.clock.after(IDLE_MS, () => resolve(undefined));
      const settle = (slice: { bytes: Buffer; release(): void } | undefined): void => {
        cancel();
        resolve(slice);
      };
      Promise.resolve(read.next()).then(settle, () => settle(undefined));
    });
  }
}
