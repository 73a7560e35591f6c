import { CacheError } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import { type Landing, landCopy, type Origin, type OriginAnswer, type OriginBody, type OriginRequest } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import type { Slice } from "../runtime/slice.js";
import type { ForwardedRead } from "./forwarded-read.js";
import type { HeldQuestion } from "./held-question.js";
import { Unreachable } from "./member-link.js";
import type { MemberLinks } from "./member-links.js";

export interface HandoverBodyOptions {
  /** For what the member does not bring. */
  readonly origin: Origin;
  readonly clock: Clock;
  readonly links: MemberLinks;
  readonly held: HeldQuestion;
  /** The member's answer. */
  readonly read: ForwardedRead;
  readonly request: OriginRequest;
}

/** How long a member's bytes may stand still before the origin takes over. */
const IDLE_MS = 500;

/** Another member's bytes as an origin's body; where they break off or stand still, the rest comes from the origin. */
export class HandoverBody implements OriginBody {
  readonly #options: HandoverBodyOptions;
  /** For the reader's signal and for `destroy`. */
  readonly #life: LinkedAbort;
  #received = 0;
  #rest: OriginAnswer | undefined;

  constructor(options: HandoverBodyOptions) {
    this.#options = options;
    this.#life = new LinkedAbort(options.request.signal);
  }

  async land(landing: Landing): Promise<void> {
    const { held, read } = this.#options;
    try {
      for (;;) {
        const slice = await this.#nextInTime();
        this.#checkLife();
        if (slice === undefined) break;
        this.#take(slice, landing);
      }
      held.leave();
      if (this.#received === read.length) return;
      this.#rest = await this.#askForRest();
      await this.#rest.body.land(landing);
    } finally {
      this.#leave();
    }
  }

  destroy(): void {
    this.#life.abort(new CacheError("CANCELLED", `${this.#options.request.ref.url}: the member's answer was dropped`));
    this.#leave();
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

  /** The next slice; undefined at the end and where the member is lost or too slow. */
  #nextInTime(): Promise<Slice | undefined> {
    const { clock, links, held, read } = this.#options;
    return new Promise((resolve) => {
      const cancel = clock.after(IDLE_MS, () => resolve(undefined));
      const settle = (slice: Slice | undefined): void => {
        cancel();
        resolve(slice);
      };
      Promise.resolve(read.next()).then(settle, (error) => {
        if (error instanceof Unreachable) links.lost(held.member);
        settle(undefined);
      });
    });
  }

  #leave(): void {
    this.#options.held.leave();
    this.#rest?.body.destroy();
    this.#life.unlink();
  }
}
