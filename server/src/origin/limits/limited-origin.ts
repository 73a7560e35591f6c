import type { BucketRef, ObjectInfo, ObjectRef, PrefixRef } from "@frontcache/proto";
import type { Landing } from "../landing.js";
import type { Listing, ListPage, Origin, OriginAnswer, OriginBody, OriginRange } from "../origin.js";
import type { OriginLimits, Permit } from "./origin-limits.js";

/** An origin behind this member's limits. Stands inside of what repeats requests, so that repeated ones count, too. */
export class LimitedOrigin implements Origin {
  readonly #origin: Origin;
  readonly #limits: OriginLimits;

  constructor(origin: Origin, limits: OriginLimits) {
    this.#origin = origin;
    this.#limits = limits;
  }

  async fetch(ref: ObjectRef, range: OriginRange, signal: AbortSignal): Promise<OriginAnswer> {
    const permit = await this.#limits.admit(ref.url, range.length, signal);
    try {
      const answer = await this.#origin.fetch(ref, range, signal);
      permit.correct(answer.length);
      return { ...answer, body: new AdmittedBody(answer.body, permit) };
    } catch (error) {
      permit.correct(0);
      permit.release();
      throw error;
    }
  }

  stat(ref: ObjectRef, signal: AbortSignal): Promise<ObjectInfo> {
    return this.#admitted(ref, signal, () => this.#origin.stat(ref, signal));
  }

  list(ref: PrefixRef, page: ListPage, signal: AbortSignal): Promise<Listing> {
    return this.#admitted(ref, signal, () => this.#origin.list(ref, page, signal));
  }

  statBucket(ref: BucketRef, signal: AbortSignal): Promise<void> {
    return this.#admitted(ref, signal, () => this.#origin.statBucket(ref, signal));
  }

  close(): void {
    this.#origin.close();
  }

  /** Sends a request without bytes to count. */
  async #admitted<Answer>({ url }: BucketRef, signal: AbortSignal, ask: () => Promise<Answer>): Promise<Answer> {
    const permit = await this.#limits.admit(url, 0, signal);
    try {
      return await ask();
    } finally {
      permit.release();
    }
  }
}

/** A body that holds its request's permit until its end. */
class AdmittedBody implements OriginBody {
  constructor(
    private readonly body: OriginBody,
    private readonly permit: Permit,
  ) {}

  async land(landing: Landing): Promise<void> {
    try {
      await this.body.land(landing);
    } finally {
      this.permit.release();
    }
  }

  destroy(): void {
    this.body.destroy();
    this.permit.release();
  }
}
