import { FORWARDED_HEADER, type ObjectInfo, ON_BEHALF_OF_HEADER, OPEN_ENDED_HEADER, parseOnBehalfOf } from "@frontcache/proto";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Cache, ObjectStat } from "../../routing/cache.js";
import { isMembersRequest } from "../../security/member-authentication.js";
import type { HttpContext } from "../http/http-context.js";
import { type MemberHeaders, memberHeadersOf } from "./member-headers.js";
import { type ObjectPart, partOf } from "./object-parts.js";
import type { ObjectRequest } from "./object-request.js";
import { type Deadline, deadlineOf } from "./request-deadline.js";

/** How fresh a record is, in the terms of a read. */
export type RecordFreshness = Pick<ObjectRead, "result" | "ageMs">;

/** What one answer asks the cache: reads of the object, and its record, as fresh as the request's Cache-Control demands. */
export class ObjectQuestions {
  readonly cache: Cache;
  /** A member sent the read: it is never forwarded again. */
  readonly forwarded: boolean;
  /** Only cached bytes are read, for a member. */
  readonly cachedOnly: boolean;
  readonly #context: HttpContext;
  readonly #request: ObjectRequest;
  readonly #headers: MemberHeaders;
  /** The range's end is not the client's: a member put the block's end there. */
  readonly #openEnded: boolean;
  /** The deadline that the client named. */
  readonly #deadline: Deadline | undefined;
  #freshness: RecordFreshness | undefined;
  /** The record turned out to be outdated: the origin is to confirm the next one. */
  #isOutdated = false;

  constructor(context: HttpContext, cache: Cache, request: ObjectRequest) {
    this.#context = context;
    this.cache = cache;
    this.#request = request;
    const headers = memberHeadersOf(context.request);
    const { isForwarded, isCachedOnly, isOpenEnded, timeoutMs } = headers;
    this.#headers = headers;
    this.forwarded = isForwarded && this.#isMember(FORWARDED_HEADER);
    this.cachedOnly = isCachedOnly;
    this.#openEnded = isOpenEnded && this.#isMember(OPEN_ENDED_HEADER);
    this.#deadline = timeoutMs === undefined ? undefined : deadlineOf(context, request.ref, timeoutMs);
  }

  /** Aborted when the client is gone, or its deadline is over. */
  get signal(): AbortSignal {
    return this.#deadline?.abort.signal ?? this.#context.signal;
  }

  /** Whether a member asks: it needs what this member knows, without a question to the origin for the rest. */
  get isMembers(): boolean {
    return this.forwarded || (this.cachedOnly && this.#context.principal.isMember);
  }

  /** Whether the origin may be asked. */
  get mayAskOrigin(): boolean {
    return this.#request.cacheControl?.isCachedOnly !== true;
  }

  /** How fresh the record was that `record` returned last. Undefined: it was not asked for. */
  get freshness(): RecordFreshness | undefined {
    return this.#freshness;
  }

  open(version: string | undefined, offset: number, length: number): ObjectRead | Promise<ObjectRead> {
    const { principal } = this.#context;
    const { isRepeated, originRequests } = this.#headers;
    return this.cache.open({
      ref: this.#request.ref,
      version,
      offset,
      length,
      forwarded: this.forwarded,
      cachedOnly: this.cachedOnly || !this.mayAskOrigin,
      openEnded: this.#openEnded,
      isRepeated,
      originRequests,
      onBehalfOf: this.#onBehalfOf(),
      principal,
      deadlineAtMs: this.#deadline?.atMs,
      signal: this.signal,
    });
  }

  /** `confirmed`: the origin is asked, whatever the age of the record is. */
  stat(confirmed = false): Promise<ObjectStat> {
    const { principal } = this.#context;
    const { ref, requiredVersion: version, isHead, wantsChecksums } = this.#request;
    const of = { ref, version, forwarded: this.forwarded, checksums: isHead && wantsChecksums, confirmed };
    return this.cache.ask({ kind: "stat", ...of, principal, signal: this.signal });
  }

  /** The object's record, confirmed by the origin if the request or an outdated record demands it. */
  async record(): Promise<Pick<ObjectStat, "info">> {
    const { cacheControl, requiredVersion, passes } = this.#request;
    if (!this.mayAskOrigin) {
      const read = await this.open(requiredVersion, 0, 0);
      read.close();
      this.#freshness = read;
      return read;
    }
    const { clock } = this.#context;
    const askedAtMs = clock.monotonicMs();
    const maxAgeMs = this.#isOutdated || passes === "no-store" ? 0 : (cacheControl?.maxAgeMs ?? Number.POSITIVE_INFINITY);
    let stat = await this.stat(maxAgeMs === 0);
    if (maxAgeMs > 0 && (stat.ageMs ?? Number.MAX_VALUE) > maxAgeMs) stat = await this.stat(true);
    const { isStale, ageMs } = stat;
    const isNew = ageMs !== undefined && ageMs <= clock.monotonicMs() - askedAtMs;
    this.#freshness = { result: isStale === true ? "stale" : isNew ? "filled" : "hit", ageMs };
    return stat;
  }

  /** The last record turned out to be outdated. */
  recordOutdated(): void {
    this.#isOutdated = true;
  }

  /** The requested part. Undefined: none was requested. `unknown`: the origin does not answer with parts. */
  async part(info: ObjectInfo): Promise<ObjectPart | "unknown" | undefined> {
    const { partNumber, target } = this.#request;
    if (partNumber === undefined) return undefined;
    const { principal } = this.#context;
    const { bare, versionId } = target;
    return (await partOf(this.cache, bare, info, partNumber, versionId, { principal, signal: this.signal })) ?? "unknown";
  }

  /** The answer is over. */
  end(): void {
    this.#deadline?.cancel();
  }

  #onBehalfOf(): string | undefined {
    const { onBehalfOf } = this.#headers;
    return onBehalfOf !== undefined && this.#isMember(ON_BEHALF_OF_HEADER) ? parseOnBehalfOf(onBehalfOf) : undefined;
  }

  /** Whether a header counts that is ignored unless a member sends it. */
  #isMember(header: string): boolean {
    const { principal, listener, client, refusals } = this.#context;
    return isMembersRequest({ what: header, principal, listener, client: client.address }, refusals);
  }
}
