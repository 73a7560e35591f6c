import { CacheError, type MemberInfo, type ValueAnswer } from "@frontcache/proto";
import type { ValueBuckets } from "./value-buckets.js";
import { type Freshness, NotCopied } from "./value-copies.js";
import type { KnownEntry } from "./value-entries.js";
import { infoOf } from "./value-entry.js";
import type { ValueHolder } from "./value-holder.js";
import type { Placement, ValueMembers } from "./value-members.js";
import { CountedRead, LocalValueRead, PiecewiseRead, READ_PIECE_BYTES, spanOf } from "./value-reads.js";
import type { ValueService } from "./value-service.js";
import type { OpenRequest, ValueRead } from "./values.js";

export interface ValueOpeningOptions {
  readonly buckets: ValueBuckets;
  readonly holder: ValueHolder;
  readonly members: ValueMembers;
  readonly placement: Placement;
  readonly service: ValueService;
  readonly freshness: Freshness;
}

/** Opens reads of values: of this member's own blocks, or of another member's. */
export class ValueOpening {
  readonly counts = { hits: 0, misses: 0, bytesRead: 0 };
  readonly #options: ValueOpeningOptions;

  constructor(options: ValueOpeningOptions) {
    this.#options = options;
  }

  /** As `Values.open`. */
  open(request: OpenRequest): ValueRead | Promise<ValueRead> {
    const { buckets, freshness, holder, service } = this.#options;
    const { url, offset, length, follow, version } = request;
    buckets.of(url);
    if (!Number.isSafeInteger(offset) || offset < 0 || (length !== undefined && !(length >= 0))) {
      throw new CacheError("INVALID_ARGUMENT", `${url}: a range begins at a byte and has a length`);
    }
    if (follow === true) return this.#openSlowly(request);
    // What follows is the path of a hot read: without another member, without a promise.
    if (!freshness.isSettled(url)) return this.#openSlowly(request);
    const known = holder.readable(url);
    if (known !== undefined) return this.#openKnown(known, offset, length, version);
    if (!service.copies.isMissing(url)) return this.#openSlowly(request);
    throw this.#missing(url);
  }

  /** As `open`, for another member: asks a third one only for a value that it has, and that cannot be copied here. */
  openHere(request: OpenRequest): ValueRead | Promise<ValueRead> {
    const { url, offset, length, version, signal } = request;
    const opened = (known: KnownEntry | undefined): ValueRead => {
      if (known === undefined) throw this.#missing(url);
      return this.#openKnown(known, offset, length, version);
    };
    const known = this.#options.service.copies.ensure(url, signal);
    if (!(known instanceof Promise)) return opened(known);
    return known.then(opened, (error: unknown) => {
      if (error instanceof NotCopied) return this.#openElsewhere(error.sources, request);
      throw error;
    });
  }

  async #openSlowly(request: OpenRequest): Promise<ValueRead> {
    const { placement, service, holder } = this.#options;
    const { url, offset, length, version, signal } = request;
    const follow = request.follow === true;
    let failure: CacheError | undefined;
    const holders = placement.holders(url);
    for (const [at, member] of holders.entries()) {
      try {
        if (placement.isSelf(member)) {
          const known = await service.copies.ensure(url, signal);
          if (known !== undefined) return this.#openKnown(known, offset, length, version);
          if (follow && holder.drafts.writerOf(url) !== undefined) return await this.#openPiecewise(member, request);
          if (!follow) throw this.#missing(url);
        } else if (follow || url.length > MOST_URL_LENGTH) return await this.#openPiecewise(member, request);
        else return await this.#openElsewhere(holders.slice(at), request);
      } catch (error) {
        if (error instanceof NotCopied) return await this.#openElsewhere(error.sources, request);
        failure = CacheError.from(error);
        const mayBeElsewhere =
          failure.code === "UNAVAILABLE" || failure.code === "DEADLINE_EXCEEDED" || (follow && failure.code === "NOT_FOUND");
        if (!mayBeElsewhere) break;
      }
    }
    signal.throwIfAborted();
    if (failure === undefined || failure.code === "NOT_FOUND") throw this.#missing(url);
    throw failure;
  }

  /** A read of another member's value. If that one is lost, it resumes at the next holder. */
  async #openElsewhere(holders: readonly MemberInfo[], request: OpenRequest): Promise<ValueRead> {
    const { members, placement, service } = this.#options;
    const { url, offset, length, version, signal } = request;
    try {
      const others = holders.filter((member) => !placement.isSelf(member));
      const read = await members.open(others, { url, version, offset, length }, signal);
      this.counts.hits++;
      return new CountedRead(read, this.#count);
    } catch (error) {
      // No range of an empty value can be read over HTTP.
      if (offset > 0 || CacheError.from(error).code !== "OUT_OF_RANGE") throw error;
      const empty = { url, version: "", offset: 0, length: 0, follow: false };
      const answer = await service.ask(holders[0]!, { read: empty }, signal);
      if (answer.size !== 0) throw error;
      return this.#openPiecewise(holders[0]!, request);
    }
  }

  #openKnown(known: KnownEntry, offset: number, length: number | undefined, version: string | undefined): ValueRead {
    const { url, size } = known.entry;
    if (version !== undefined && version !== known.entry.version) throw otherVersion(url, known.entry.version);
    const span = spanOf(url, offset, length, size);
    this.counts.hits++;
    return new LocalValueRead(known, span, this.#options.holder.blocks, this.#count);
  }

  /** A read of a value that is being written, by one call for each piece. */
  async #openPiecewise(
    member: MemberInfo,
    { url, offset, length, follow = false, version, signal }: OpenRequest,
  ): Promise<ValueRead> {
    const most = Math.min(length ?? READ_PIECE_BYTES, READ_PIECE_BYTES);
    const { service } = this.#options;
    const ask = (from: number, bytes: number, of: string): Promise<ValueAnswer> =>
      service.ask(member, { read: { url, version: of, offset: from, length: bytes, follow } }, signal, FOLLOW_TIMEOUT_MS);
    const answer = await ask(offset, most, "");
    const [entry] = answer.entries;
    if (entry === undefined) throw new CacheError("INTERNAL", `${url}: member ${member.name} answered without an entry`);
    if (version !== undefined && version !== entry.version) throw otherVersion(url, entry.version);
    this.counts.hits++;
    const isWhole = entry.present;
    const size = isWhole || entry.size > 0 ? Math.max(entry.size, isWhole ? answer.size : 0) : undefined;
    const span = size === undefined ? undefined : spanOf(url, offset, length, size);
    return new PiecewiseRead({
      info: infoOf({ ...entry, size: size ?? answer.size }),
      offset,
      length: span === undefined ? length : span.end - span.start,
      first: { data: answer.data, ended: answer.ended },
      fetch: async (from, bytes) => {
        const { data, ended } = await ask(from, Math.min(bytes, READ_PIECE_BYTES), entry.version);
        return { data, ended };
      },
      onBytes: this.#count,
    });
  }

  readonly #count = (bytes: number): void => {
    this.counts.bytesRead += bytes;
  };

  #missing(url: string): CacheError {
    this.counts.misses++;
    return new CacheError("NOT_FOUND", `${url}: no such value`);
  }
}

/** The bytes of longer URLs are read by calls: escaped, they may not fit into the target of a request. */
const MOST_URL_LENGTH = 2_000;
/** A reader that follows a writer waits as long for its bytes. */
const FOLLOW_TIMEOUT_MS = 120_000;

function otherVersion(url: string, version: string): CacheError {
  return new CacheError("FAILED_PRECONDITION", `${url}: the value has version ${version}`);
}
