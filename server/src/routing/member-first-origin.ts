import {
  type BucketRef,
  blockOffsetOf,
  CacheError,
  type Geometry,
  type MemberInfo,
  type ObjectInfo,
  type ObjectRef,
  type PrefixRef,
} from "@frontcache/proto";
import type { Listing, ListPage, Origin, OriginAnswer, OriginRange, Patience } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import { HandoverBody } from "./handover-body.js";
import { HeldQuestion } from "./held-question.js";
import type { MemberLinks } from "./member-links.js";
import type { MemberView } from "./member-view.js";
import type { RoutingEvents } from "./routing-events.js";

export interface MemberFirstOptions {
  readonly origin: Origin;
  readonly geometry: Geometry;
  readonly clock: Clock;
  readonly view: MemberView;
  readonly links: MemberLinks;
  readonly events: Pick<RoutingEvents, "onHandover">;
}

/** Members asked for one part, at the same time. */
const MAX_ASKED = 2;

/**
 * An origin that other members are asked before: after a scale-out, a scale-in or a restart the bytes are nearly always held
 * by the block's last owner or the next on the ring. What they don't hold, or hold too slowly, comes from the real origin.
 */
export class MemberFirstOrigin implements Origin {
  constructor(private readonly options: MemberFirstOptions) {}

  async fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer> {
    const held = await this.#heldElsewhere(ref, range, signal);
    if (signal.aborted) {
      held?.leave();
      throw CacheError.from(signal.reason);
    }
    const answer = held && (await this.#answerOf(held, ref, range, signal));
    return answer ?? this.options.origin.fetch(ref, range, signal);
  }

  stat(ref: ObjectRef, signal: AbortSignal, patience?: Patience): Promise<ObjectInfo> {
    return this.options.origin.stat(ref, signal, patience);
  }

  list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing> {
    return this.options.origin.list(ref, page, signal);
  }

  statBucket(ref: BucketRef, signal: AbortSignal): Promise<void> {
    return this.options.origin.statBucket(ref, signal);
  }

  close(): void {
    this.options.origin.close();
  }

  /** The first member to answer with the bytes; undefined where nobody has them, or not in time. */
  #heldElsewhere(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<HeldQuestion | undefined> {
    const { links, clock, geometry } = this.options;
    const questions = this.#candidates(ref, range).map(
      (member) => new HeldQuestion({ links, member, clock, geometry, ref, range, signal }),
    );
    return new Promise((resolve) => {
      let open = questions.length;
      if (open === 0) resolve(undefined);
      for (const question of questions) {
        void question.read.then((read) => {
          open--;
          if (read !== undefined) {
            for (const other of questions) if (other !== question) other.leave();
            resolve(question);
          } else if (open === 0) resolve(undefined);
        });
      }
    });
  }

  #candidates({ url }: ObjectRef, { offset }: OriginRange): MemberInfo[] {
    const { view, links, geometry } = this.options;
    const mayHold = view.mayHold(url, blockOffsetOf(offset, geometry));
    return mayHold.filter((member) => !links.isAside(member) && !links.to(member).patience.exhausted).slice(0, MAX_ASKED);
  }

  /**
   * A member's bytes as an origin's answer; undefined where they are of another version than the current one. Without a
   * version asked for, only the origin may say which that is: a member's belief may be as old as `--revalidate-after`, and
   * passing it on would make it older.
   */
  async #answerOf(
    held: HeldQuestion,
    ref: ObjectRef,
    range: OriginRange,
    signal: AbortSignal,
  ): Promise<OriginAnswer | undefined> {
    const read = (await held.read)!;
    const { info: told, length } = read;
    const asked = range.version === undefined;
    const info = asked ? await this.options.origin.stat(ref, signal).catch(() => undefined) : told;
    if (info?.version === told.version && info.objectSize === told.objectSize) {
      this.options.events.onHandover();
      const { origin, clock, links } = this.options;
      const body = new HandoverBody({ origin, clock, links, held, read, ref, offset: range.offset, signal });
      return { info, ...(asked ? {} : { isHearsay: true }), length, body };
    }
    held.leave();
    return undefined;
  }
}
