import { blockOffsetOf, CacheError, type Geometry, type MemberInfo } from "@frontcache/proto";
import { type Origin, type OriginAnswer, type OriginRequest, type OriginWrapper, wrap } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import { HandoverBody } from "./handover-body.js";
import { HeldQuestion } from "./held-question.js";
import type { MemberLinks } from "./member-links.js";
import type { MemberView } from "./member-view.js";
import type { RoutingEvents } from "./routing-events.js";

export interface MemberFirstOptions {
  readonly geometry: Geometry;
  readonly clock: Clock;
  readonly view: MemberView;
  readonly links: MemberLinks;
  readonly events: Pick<RoutingEvents, "onPeerFill">;
}

/** Members asked for one part, at the same time. */
const MAX_ASKED = 2;

/**
 * Asks other members before the origin: after a scale-out, a scale-in or a restart the bytes are nearly always cached by the
 * block's last owner or the next on the ring. What they don't have, or send too slowly, comes from the origin.
 */
export function memberFirst(options: MemberFirstOptions): OriginWrapper {
  return (next) => {
    const members = new MemberAnswers(options, next);
    return wrap(next, { fetch: async (request) => (await members.fetch(request)) ?? next.fetch(request) });
  };
}

class MemberAnswers {
  readonly #options: MemberFirstOptions;
  readonly #next: Origin;

  constructor(options: MemberFirstOptions, next: Origin) {
    this.#options = options;
    this.#next = next;
  }

  /** A member's answer; undefined if no member has the bytes, or not in time. */
  async fetch(request: OriginRequest): Promise<OriginAnswer | undefined> {
    const held = await this.#heldElsewhere(request);
    if (request.signal.aborted) {
      held?.leave();
      throw CacheError.from(request.signal.reason);
    }
    return held && (await this.#answerOf(held, request));
  }

  /** The first member to answer with the bytes; undefined where nobody has them, or not in time. */
  #heldElsewhere(request: OriginRequest): Promise<HeldQuestion | undefined> {
    const { links, clock, geometry } = this.#options;
    const questions = this.#candidates(request).map((member) => new HeldQuestion({ links, member, clock, geometry, request }));
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

  #candidates({ ref, offset }: OriginRequest): MemberInfo[] {
    const { view, links, geometry } = this.#options;
    const mayHold = view.mayHold(ref.url, blockOffsetOf(offset, geometry));
    return mayHold.filter((member) => !links.isAside(member) && !links.to(member).patience.exhausted).slice(0, MAX_ASKED);
  }

  /**
   * A member's bytes as an origin's answer; undefined where they are of another version than the current one. Without a
   * version asked for, only the origin may say which that is: a member's belief may be as old as `--revalidate-after`, and
   * passing it on would make it older.
   */
  async #answerOf(held: HeldQuestion, request: OriginRequest): Promise<OriginAnswer | undefined> {
    const read = (await held.read)!;
    const { info: told, length } = read;
    const { ref, signal, principal } = request;
    const isUnversioned = request.version === undefined;
    const info = isUnversioned
      ? await this.#next.ask({ kind: "stat", ref, hasFallback: false, signal, principal }).catch(() => undefined)
      : told;
    if (info?.version === told.version && info.objectSize === told.objectSize) {
      this.#options.events.onPeerFill();
      const { clock, links } = this.#options;
      const body = new HandoverBody({ origin: this.#next, clock, links, held, read, request });
      return { info, ...(!isUnversioned && { isFromMember: true }), length, body };
    }
    held.leave();
    return undefined;
  }
}
