import { CacheError, type ObjectRef } from "@frontcache/proto";
import { LinkedAbort } from "../origin/attempt.js";
import type { Origin, OriginAnswer, OriginBody } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import type { Slice } from "../runtime/slice.js";
import type { ForwardedRead } from "./forwarded-read.js";
import type { HeldQuestion } from "./held-question.js";
import { OutOfReach } from "./member-link.js";
import type { MemberLinks } from "./member-links.js";

export interface HandoverBodyOptions {
  /** For what the member does not bring. */
  readonly origin: Origin;
  readonly clock: Clock;
  readonly links: MemberLinks;
  readonly held: HeldQuestion;
  /** The member's answer. */
  readonly read: ForwardedRead;
  readonly ref: ObjectRef;
  /** Of its first byte in the object. */
  readonly offset: number;
  readonly signal: AbortSignal;
}

/** How long a member's bytes may stand still before the origin takes over. */
const IDLE_MS = 500;

/** Another member's bytes as an origin's body; where they break off or stand still, the rest comes from the origin. */
export class HandoverBody implements OriginBody {
  readonly #options: HandoverBodyOptions;
  /** For the reader's signal and for `destroy`. */
  readonly #life: LinkedAbort;
  /** The member's slice that is being taken, and how much of it is. */
  #slice: Slice | undefined;
  #taken = 0;
  #received = 0;
  #rest: OriginAnswer | undefined;

  constructor(options: HandoverBodyOptions) {
    this.#options = options;
    this.#life = new LinkedAbort(options.signal);
  }

  async read(memory: Buffer): Promise<number> {
    try {
      const bytes = await this.#next(memory);
      if (bytes === 0) this.#leave();
      return bytes;
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  destroy(): void {
    this.#life.abort(new CacheError("CANCELLED", `${this.#options.ref.url}: the member's answer was dropped`));
    this.#leave();
  }

  async #next(memory: Buffer): Promise<number> {
    if (this.#rest === undefined) {
      this.#slice ??= await this.#nextInTime();
      if (this.#life.signal.aborted) throw CacheError.from(this.#life.signal.reason);
      if (this.#slice !== undefined) return this.#take(this.#slice, memory);
      this.#options.held.leave();
      if (this.#received === this.#options.read.length) return 0;
      this.#rest = await this.#askForRest();
    }
    return this.#rest.body.read(memory);
  }

  #take(slice: Slice, memory: Buffer): number {
    const bytes = slice.bytes.copy(memory, 0, this.#taken);
    this.#taken += bytes;
    this.#received += bytes;
    if (this.#taken === slice.bytes.length) this.#dropSlice();
    return bytes;
  }

  #askForRest(): Promise<OriginAnswer> {
    const { origin, ref, offset, read } = this.#options;
    const rest = { offset: offset + this.#received, length: read.length - this.#received, version: read.info.version };
    return origin.fetch(ref, rest, this.#life.signal);
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
        if (error instanceof OutOfReach) links.lost(held.member);
        settle(undefined);
      });
    });
  }

  #dropSlice(): void {
    this.#slice?.release();
    this.#slice = undefined;
    this.#taken = 0;
  }

  #leave(): void {
    this.#dropSlice();
    this.#options.held.leave();
    this.#rest?.body.destroy();
    this.#life.unlink();
  }
}
