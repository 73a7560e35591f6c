import { blockOffsetOf, CacheError, type Geometry, type MemberInfo } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { OriginRequest } from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import { ForwardedRead } from "./forwarded-read.js";
import { Unreachable } from "./member-link.js";
import type { MemberLinks } from "./member-links.js";

export interface HeldQuestionOptions {
  readonly links: MemberLinks;
  readonly member: MemberInfo;
  readonly clock: Clock;
  readonly geometry: Geometry;
  readonly request: OriginRequest;
}

/** Whether one member holds a range, asked with `cached_only` and within the patience with that member. */
export class HeldQuestion {
  /** The bytes, once the first have come; undefined where it has none, or none in time, or is out of reach. Never rejects. */
  readonly read: Promise<ForwardedRead | undefined>;
  readonly #end = new AbortController();

  constructor(private readonly options: HeldQuestionOptions) {
    const { signal } = options.request;
    signal.addEventListener("abort", this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
    this.read = this.#ask().catch((error) => {
      if (error instanceof Unreachable) options.links.lost(options.member);
      this.leave();
      return undefined;
    });
  }

  get member(): MemberInfo {
    return this.options.member;
  }

  /** The answer is not needed any more. Must be called for every question in the end; harmless when repeated. */
  leave(): void {
    this.options.request.signal.removeEventListener("abort", this.#onAbort);
    this.#end.abort(new CacheError("CANCELLED", "the member's answer is not needed any more"));
  }

  readonly #onAbort = (): void => this.#end.abort(this.options.request.signal.reason);

  async #ask(): Promise<ForwardedRead> {
    const { links, member, clock, geometry, request } = this.options;
    const link = links.to(member);
    if (!link.connected) await untilAborted(link.connect(), this.#end.signal);
    const { patience } = link;
    const beganMs = clock.monotonicMs();
    const cancel = patience.wait(() => {
      patience.late();
      this.leave();
    });
    const { ref, version, offset, length } = request;
    const blockOffset = blockOffsetOf(offset, geometry);
    const start = offset - blockOffset;
    const question = { ref, version, blockOffset, start, end: start + length, openEnded: false };
    try {
      const read = await ForwardedRead.open(link, { ...question, cachedOnly: true, signal: this.#end.signal });
      patience.answered(clock.monotonicMs() - beganMs);
      return read;
    } catch (error) {
      // "Not held" is an answer, too.
      if (!this.#end.signal.aborted && !(error instanceof Unreachable)) patience.answered(clock.monotonicMs() - beganMs);
      throw error;
    } finally {
      cancel();
    }
  }
}
