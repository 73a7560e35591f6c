import { type CallLimits, Unreachable } from "@frontcache/client/members";
import { type BlockId, blockOffsetOf, CacheError, type Geometry, type MemberInfo } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { ObjectRead } from "../cache/object-read.js";
import {
  type Landing,
  landCopy,
  type Origin,
  type OriginAnswer,
  type OriginBody,
  type OriginRequest,
  type OriginWrapper,
  wrap,
} from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import type { Slice } from "../runtime/slice.js";
import { blockKey } from "../storage/block.js";
import type { OtherMembers } from "./other-members.js";
import type { RoutingEvents } from "./routing-events.js";

export interface PeerFillOptions {
  readonly geometry: Geometry;
  readonly clock: Clock;
  readonly others: OtherMembers;
  readonly events: Pick<RoutingEvents, "onPeerFill">;
  readonly holders: BlockHolders;
}

/** Blocks that another member has reported as cached there, while they are filled from there. */
export class BlockHolders {
  readonly #names = new Map<string, string>();

  add(block: BlockId, name: string): void {
    this.#names.set(blockKey(block), name);
  }

  delete(block: BlockId): void {
    this.#names.delete(blockKey(block));
  }

  /** The name of the member that has the block. Undefined: none is known. */
  of(block: BlockId): string | undefined {
    return this.#names.size === 0 ? undefined : this.#names.get(blockKey(block));
  }
}

/** Members asked for one part, at the same time, after a change of the member list. Otherwise the next on the ring alone. Each only if it is worth asking. */
const MOST_ASKED = 2;
/** Share of a member's timeout in which no byte may arrive from it before the origin takes over. */
const IDLE_SHARE = 1 / 2;

/**
 * Asks other members before the origin: after a scale-out, a scale-in or a restart the bytes are nearly always cached by the
 * block's last owner or the next on the ring. What they don't have, or send too slowly, comes from the origin.
 */
export function peerFills(options: PeerFillOptions): OriginWrapper {
  return (next) => {
    const peers = new Peers(options, next);
    return wrap(next, { fetch: (request) => peers.fetch(request) });
  };
}

class Peers {
  readonly #options: PeerFillOptions;
  readonly #next: Origin;

  constructor(options: PeerFillOptions, next: Origin) {
    this.#options = options;
    this.#next = next;
  }

  /** A member's answer, or the origin's if no member has the bytes, or not in time. */
  fetch(request: OriginRequest): Promise<OriginAnswer> {
    const members = this.#candidates(request);
    return members.length === 0 ? this.#next.fetch(request) : this.#fetchFrom(members, request);
  }

  async #fetchFrom(members: readonly MemberInfo[], request: OriginRequest): Promise<OriginAnswer> {
    const found = await this.#firstToAnswer(members, request);
    if (request.signal.aborted) {
      found?.question.end();
      throw CacheError.from(request.signal.reason);
    }
    return (found && (await this.#answerOf(found, request))) ?? this.#next.fetch(request);
  }

  #candidates({ ref, offset, version }: OriginRequest): readonly MemberInfo[] {
    const { others, geometry, holders } = this.#options;
    const { breaker, view } = others;
    const blockOffset = blockOffsetOf(offset, geometry);
    const name = version === undefined ? undefined : holders.of({ url: ref.url, version, offset: blockOffset });
    const holder = name === undefined ? undefined : view.current.member(name);
    const mayHave = holder === undefined ? view.mayHave(ref.url, blockOffset) : [holder];
    if (mayHave.length === 0) return mayHave;
    const askable = mayHave.filter((member) => !breaker.isOpen(member.grpcAddress) && !others.answerTime(member).isExhausted);
    const likeliest = askable.slice(0, view.changedRecently ? MOST_ASKED : 1);
    return holder === undefined ? likeliest.filter((member) => others.peerHits(member).isWorthAsking()) : likeliest;
  }

  /** The first member to answer with the bytes; undefined if nobody has them, or not in time. */
  #firstToAnswer(members: readonly MemberInfo[], request: OriginRequest): Promise<Found | undefined> {
    const questions = members.map((member) => new PeerQuestion(member, request, this.#options));
    return new Promise((resolve) => {
      let open = questions.length;
      for (const question of questions) {
        void question.read.then((read) => {
          open--;
          if (read !== undefined) {
            for (const other of questions) if (other !== question) other.end();
            resolve({ question, read });
          } else if (open === 0) resolve(undefined);
        });
      }
    });
  }

  /**
   * A member's bytes as an origin's answer; undefined if they are of another version than the current one. Without a requested
   * version, only the origin may say which one is current: a member's record may be as old as `--revalidate-after`, and using
   * it would make it older.
   */
  async #answerOf({ question, read }: Found, request: OriginRequest): Promise<OriginAnswer | undefined> {
    const { ref, signal, principal, budget, isNeeded } = request;
    const isUnversioned = request.version === undefined;
    const info = isUnversioned
      ? await this.#next
          .ask({ kind: "stat", ref, hasFallback: false, signal, principal, budget, isNeeded })
          .catch(() => undefined)
      : read.info;
    if (info?.version !== read.info.version || info.objectSize !== read.info.objectSize) {
      question.end();
      return undefined;
    }
    this.#options.events.onPeerFill();
    const body = new PeerBody({ origin: this.#next, question, read, request }, this.#options);
    return { info, ...(!isUnversioned && { isFromMember: true }), length: read.length, body };
  }
}

interface Found {
  readonly question: PeerQuestion;
  readonly read: ObjectRead;
}

/** Whether one member has a range cached, asked within the time that fills wait for this member. */
class PeerQuestion {
  readonly member: MemberInfo;
  /** The bytes, once the first have arrived; undefined if the member has none, or none in time, or is unreachable. Never rejects. */
  readonly read: Promise<ObjectRead | undefined>;
  readonly #life: LinkedAbort;
  #opened: ObjectRead | undefined;

  constructor(member: MemberInfo, request: OriginRequest, options: PeerFillOptions) {
    this.member = member;
    this.#life = new LinkedAbort(request.signal);
    this.read = this.#ask(request, options).catch((error) => {
      if (error instanceof Unreachable) options.others.breaker.failed(member.grpcAddress, error);
      this.end();
      return undefined;
    });
  }

  /** The answer is not needed any more. Must be called for every question in the end; harmless when repeated. */
  end(): void {
    this.#life.abort(NOT_NEEDED);
    this.#opened?.close();
  }

  async #ask({ ref, version, offset, length }: OriginRequest, { others, clock, geometry }: PeerFillOptions): Promise<ObjectRead> {
    const { member } = this;
    const answerTime = others.answerTime(member);
    const startedMs = clock.monotonicMs();
    const cancel = answerTime.wait(() => {
      answerTime.late();
      this.end();
    });
    const blockOffset = blockOffsetOf(offset, geometry);
    const start = offset - blockOffset;
    const range = { blockOffset, start, end: start + length, openEnded: false };
    const fetch = (landing: Parameters<typeof others.connections.blocks.read>[1], limits: CallLimits): Promise<void> =>
      others.connections.blocks.read(member, landing, limits);
    try {
      const question = { ref, version, ...range, cachedOnly: true, signal: this.#life.signal };
      this.#opened = await others.reads.open(question, { fetch });
      answerTime.answered(clock.monotonicMs() - startedMs);
      others.breaker.succeeded(member.grpcAddress);
      others.peerHits(member).hit();
      return this.#opened;
    } catch (error) {
      // "Not cached" is an answer, too.
      if (!this.#life.signal.aborted && !(error instanceof Unreachable)) {
        answerTime.answered(clock.monotonicMs() - startedMs);
        if (CacheError.from(error).code === "NOT_FOUND") others.peerHits(member).missed();
      }
      throw error;
    } finally {
      cancel();
    }
  }
}

const NOT_NEEDED = new CacheError("CANCELLED", "the member's answer is not needed any more");

interface PeerBodyOptions extends Found {
  /** For what the member does not bring. */
  readonly origin: Origin;
  readonly request: OriginRequest;
}

/** Another member's bytes as an origin's body. If they are interrupted or late, the rest comes from the origin. */
class PeerBody implements OriginBody {
  readonly #options: PeerBodyOptions;
  readonly #clock: Clock;
  readonly #others: OtherMembers;
  /** For the request's signal and for `destroy`. */
  readonly #life: LinkedAbort;
  #received = 0;
  #rest: OriginAnswer | undefined;

  constructor(options: PeerBodyOptions, { clock, others }: PeerFillOptions) {
    this.#options = options;
    this.#clock = clock;
    this.#others = others;
    this.#life = new LinkedAbort(options.request.signal);
  }

  async land(landing: Landing): Promise<void> {
    const { question, read } = this.#options;
    try {
      for (;;) {
        const slice = await this.#nextInTime();
        this.#checkLife();
        if (slice === undefined) break;
        this.#take(slice, landing);
      }
      question.end();
      if (this.#received === read.length) return;
      this.#rest = await this.#askForRest();
      await this.#rest.body.land(landing);
    } finally {
      this.#end();
    }
  }

  destroy(): void {
    this.#life.abort(new CacheError("CANCELLED", `${this.#options.request.ref.url}: the member's answer was dropped`));
    this.#end();
  }

  #take(slice: Slice, landing: Landing): void {
    try {
      landCopy(slice.bytes, landing, () => this.#life.signal.aborted);
      this.#received += slice.bytes.length;
    } finally {
      slice.release();
    }
    this.#checkLife();
  }

  #checkLife(): void {
    if (this.#life.signal.aborted) throw CacheError.from(this.#life.signal.reason);
  }

  #askForRest(): Promise<OriginAnswer> {
    const { origin, request, read } = this.#options;
    const [offset, length] = [request.offset + this.#received, read.length - this.#received];
    return origin.fetch({ ...request, offset, length, version: read.info.version, signal: this.#life.signal });
  }

  /** The next slice; undefined at the end, and if the member is lost or too slow. */
  #nextInTime(): Promise<Slice | undefined> {
    const { question, read } = this.#options;
    return new Promise((resolve) => {
      const cancel = this.#clock.after(this.#others.timeoutMs * IDLE_SHARE, () => resolve(undefined));
      const settle = (slice: Slice | undefined): void => {
        cancel();
        resolve(slice);
      };
      Promise.resolve(read.next()).then(settle, (error) => {
        if (error instanceof Unreachable) this.#others.breaker.failed(question.member.grpcAddress, error);
        settle(undefined);
      });
    });
  }

  #end(): void {
    this.#options.question.end();
    this.#rest?.body.destroy();
    this.#life.unlink();
  }
}
