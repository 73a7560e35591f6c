import { blockOffsetOf, CacheError, type Geometry, type MemberInfo, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import type { Origin, OriginAnswer, OriginRange } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import type { Slice } from "../runtime/slice.js";
import { ForwardedRead } from "./forwarded-read.js";
import { type MemberLink, OutOfReach } from "./member-link.js";
import type { MemberLinks } from "./member-links.js";
import type { MemberView } from "./member-view.js";

export interface MemberFirstOptions {
  readonly origin: Origin;
  readonly geometry: Geometry;
  readonly clock: Clock;
  readonly view: MemberView;
  readonly links: MemberLinks;
}

/** How long a member may take over an object's type and time once it has begun to send the bytes. */
const DESCRIBE_MS = 100;
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
    for (const member of this.#candidates(ref, range)) {
      const answer = await this.#ask(member, ref, range, signal);
      if (answer !== undefined) return answer;
      if (signal.aborted) throw CacheError.from(signal.reason);
    }
    return this.options.origin.fetch(ref, range, signal);
  }

  stat(ref: ObjectRef, signal: AbortSignal): Promise<ObjectInfo> {
    return this.options.origin.stat(ref, signal);
  }

  close(): void {
    this.options.origin.close();
  }

  #candidates({ url }: ObjectRef, { offset }: OriginRange): MemberInfo[] {
    const { view, links, geometry } = this.options;
    const mayHold = view.mayHold(url, blockOffsetOf(offset, geometry));
    return mayHold.filter((member) => !links.isAside(member) && !links.to(member).patience.exhausted).slice(0, MAX_ASKED);
  }

  /** The member's answer, or undefined where it has none, or none in time. Never rejects. */
  async #ask(member: MemberInfo, ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer | undefined> {
    const link = this.options.links.to(member);
    const end = new AbortController();
    const onAbort = (): void => end.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const leave = (): void => {
      signal.removeEventListener("abort", onAbort);
      end.abort(new CacheError("CANCELLED", "the member is not needed any more"));
    };
    try {
      const read = await this.#openInTime(link, ref, range, end);
      const info = await this.#describe(link, ref, range, read, signal);
      if (info !== undefined) {
        // Asked without a version, the origin itself has just said what is current.
        const hearsay = range.version === undefined ? {} : { isHearsay: true as const };
        return { info, ...hearsay, length: read.length, body: this.#body(link, ref, range, info, read, signal), destroy: leave };
      }
    } catch (error) {
      if (error instanceof OutOfReach) this.options.links.lost(link.member);
    }
    leave();
    return undefined;
  }

  /** The member's bytes once the first have come; rejects with its error, or when the patience with it is over. */
  async #openInTime(link: MemberLink, ref: ObjectRef, range: OriginRange, end: AbortController): Promise<ForwardedRead> {
    if (!link.connected) await link.connect();
    const { clock, geometry } = this.options;
    const { patience } = link;
    const beganMs = clock.monotonicMs();
    const cancel = patience.wait(() => {
      patience.late();
      end.abort(new CacheError("CANCELLED", "the member is too slow"));
    });
    const { offset, length, version } = range;
    const blockOffset = blockOffsetOf(offset, geometry);
    const start = offset - blockOffset;
    const request = { ref, version, blockOffset, start, end: start + length, openEnded: false, cachedOnly: true };
    try {
      const read = await ForwardedRead.open(link, { ...request, signal: end.signal });
      patience.answered(clock.monotonicMs() - beganMs);
      return read;
    } catch (error) {
      // "Not held" is an answer, too.
      if (!end.signal.aborted && !(error instanceof OutOfReach)) patience.answered(clock.monotonicMs() - beganMs);
      throw error;
    } finally {
      cancel();
    }
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
      range.version === undefined ? await this.options.origin.stat(ref, signal) : await link.stat(ref.url, version, DESCRIBE_MS);
    return info.version === version && info.objectSize === read.info.objectSize ? info : undefined;
  }

  /** The member's bytes; where they break off or stand still, the rest comes from the origin. */
  async *#body(
    link: MemberLink,
    ref: ObjectRef,
    range: OriginRange,
    info: ObjectInfo,
    read: ForwardedRead,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    let received = 0;
    try {
      for (;;) {
        const slice = await this.#nextInTime(link, read);
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
  #nextInTime(link: MemberLink, read: ForwardedRead): Promise<Slice | undefined> {
    return new Promise((resolve) => {
      const cancel = this.options.clock.after(IDLE_MS, () => resolve(undefined));
      const settle = (slice: Slice | undefined): void => {
        cancel();
        resolve(slice);
      };
      Promise.resolve(read.next()).then(settle, (error) => {
        if (error instanceof OutOfReach) this.options.links.lost(link.member);
        settle(undefined);
      });
    });
  }
}
