import { CacheError, type Geometry, headerPairs, type ObjectInfo, type ObjectRef, versionOfStoreTag } from "@frontcache/proto";
import { forEachConcurrent, LinkedAbort } from "@frontcache/proto/runtime";
import type { LocalCache } from "../cache/local-cache.js";
import type { ObjectRead } from "../cache/object-read.js";
import type { ObjectHomes } from "../objects/object-homes.js";
import {
  type Landing,
  landCopy,
  type Origin,
  type OriginAnswer,
  type OriginBody,
  type OriginRequest,
  type WriteAnswer,
  wrap,
} from "../origin/origin.js";
import type { Clock } from "../runtime/clock.js";
import type { Slice } from "../runtime/slice.js";
import { CACHE_ITSELF } from "../security/principal.js";
import { type CopiedBody, CopyMemory } from "../writes/copied-body.js";
import type { WriteQuestion, WrittenContents } from "../writes/write-through.js";
import { asRecord } from "./block-router.js";
import type { ReadRequest } from "./cache.js";
import type { OtherMembers } from "./other-members.js";
import { warmAt } from "./warming.js";

/** How long the answer to a write waits until the body is cached. */
const CACHED_WITHIN_MS = 5_000;

/** How much of the end of a multipart upload is fetched: footers of Parquet, ORC and zip are there. */
const TAIL_BYTES = 1 << 20;

/** Blocks of one body that are cached at a time. */
const PARALLELISM = 2;

/** Headers of objects whose bytes belong to whoever has the key. */
const CUSTOMER_KEY = /^x-(?:amz-server-side-encryption-customer|goog-encryption)-/;

export interface WrittenBodiesOptions {
  readonly geometry: Geometry;
  readonly clock: Pick<Clock, "after">;
  readonly others: OtherMembers;
  /** The longest body that is copied, bytes. All copies together have as much memory. 0: nothing is cached. */
  readonly maxBytes: number;
}

/** The parts of a member that exist only after its origin. */
interface CachingMember {
  readonly local: Pick<LocalCache, "warm">;
  readonly objects: Pick<ObjectHomes, "current">;
  open(request: ReadRequest): ObjectRead | Promise<ObjectRead>;
}

/** A body that was written, with the record of its object. */
interface WrittenBody {
  readonly info: ObjectInfo;
  readonly copy: CopiedBody;
}

/**
 * Caches what clients write:
 * 1. A body is copied into memory while it is sent to the origin.
 * 2. If the record of the object, which is read behind the write, is of the version that the origin answered with, the copy becomes the
 *    answer to requests for bytes of that version.
 * 3. So this member fills the blocks from the copy, and the owners of blocks fill them from this member.
 */
export class WrittenBodies implements WrittenContents {
  readonly #options: WrittenBodiesOptions;
  readonly #memory: CopyMemory;
  readonly #written = new Map<string, WrittenBody>();
  #member: CachingMember | undefined;

  constructor(options: WrittenBodiesOptions) {
    this.#options = options;
    this.#memory = new CopyMemory(options.maxBytes);
  }

  /** Nothing is cached before it is called. */
  serve(member: CachingMember): void {
    this.#member = member;
  }

  /** Answers requests for bytes that were just written. */
  readonly answerFrom = (next: Origin): Origin =>
    wrap(next, {
      fetch: (request) => {
        const { ref, version } = request;
        const written = this.#written.get(ref.url);
        return written !== undefined && written.info.version === version ? this.#answer(written, request) : next.fetch(request);
      },
    });

  copyOf(question: WriteQuestion, length: number): CopiedBody | undefined {
    const { method, json, query, headers, source, bodyLimit, changes, isWholeObject = false } = question;
    const isObject = json === undefined ? method === "PUT" && query.length === 0 && source === undefined : isWholeObject;
    if (!isObject || bodyLimit !== undefined || changes.length === 0) return undefined;
    if (length === 0 || length > this.#options.maxBytes || !headers.every(isCacheable)) return undefined;
    return this.#memory.copy(length);
  }

  async cache(ref: ObjectRef, answer: WriteAnswer, copy: CopiedBody, signal: AbortSignal): Promise<void> {
    const version = versionOf(answer);
    if (this.#member === undefined || version === undefined) return;
    const { local, objects } = this.#member;
    const { geometry, clock } = this.#options;
    const waiting = new LinkedAbort(signal);
    const cancel = clock.after(CACHED_WITHIN_MS, () =>
      waiting.abort(new CacheError("DEADLINE_EXCEEDED", "the body is not cached in time")),
    );
    try {
      const { info } = await asRecord(objects.current(ref, waiting.signal, { needs: "metadata" }));
      if (info.version !== version || info.objectSize !== copy.length) return;
      const written = { info, copy };
      this.#written.set(ref.url, written);
      try {
        const offsets = Array.from({ length: Math.ceil(copy.length / geometry.blockBytes) }, (_, at) => at * geometry.blockBytes);
        await forEachConcurrent(offsets, PARALLELISM, (offset) => this.#cacheBlock(local, ref, info, offset, waiting.signal));
      } finally {
        if (this.#written.get(ref.url) === written) this.#written.delete(ref.url);
      }
    } finally {
      cancel();
      waiting.unlink();
    }
  }

  async cacheTail(ref: ObjectRef, signal: AbortSignal): Promise<void> {
    if (this.#member === undefined || this.#options.maxBytes === 0) return;
    const { info } = await asRecord(this.#member.objects.current(ref, signal, { needs: "metadata" }));
    const { version, objectSize } = info;
    if (objectSize === 0 || ![...headerPairs(info.headers ?? "")].every(isCacheable)) return;
    const offset = Math.max(0, objectSize - TAIL_BYTES);
    const range = { ref, version, offset, length: objectSize - offset };
    const read = await this.#member.open({ ...range, forwarded: false, cachedOnly: false, signal, principal: CACHE_ITSELF });
    try {
      for (let slice: Slice | undefined = await read.next(); slice !== undefined; slice = await read.next()) slice.release();
    } finally {
      read.close();
    }
  }

  /** Caches a block here, and at its owner. */
  async #cacheBlock(
    local: CachingMember["local"],
    ref: ObjectRef,
    { version, objectSize }: ObjectInfo,
    blockOffset: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { others } = this.#options;
    const request = { ref, version, objectSize, blockOffset, dryRun: false, signal };
    await local.warm(request);
    const { others: owners } = others.route(ref.url, blockOffset, false);
    if (owners.length === 0) return;
    const call = others.call(ref.url, signal);
    try {
      await others.first(owners, (owner) => warmAt(owner, { ...request, from: others.self.name }, others, call), call);
    } finally {
      call.end();
    }
  }

  async #answer({ info, copy }: WrittenBody, { offset, length }: OriginRequest): Promise<OriginAnswer> {
    const end = Math.min(info.objectSize, offset + length);
    copy.retain();
    return { info, isFromMember: true, length: end - offset, body: new CopyAsBody(copy, offset, end) };
  }
}

/** A part of a copied body as the body of an answer. */
class CopyAsBody implements OriginBody {
  readonly #copy: CopiedBody;
  readonly #start: number;
  readonly #end: number;
  #isReleased = false;

  constructor(copy: CopiedBody, start: number, end: number) {
    this.#copy = copy;
    this.#start = start;
    this.#end = end;
  }

  async land(landing: Landing): Promise<void> {
    try {
      for (const slice of this.#copy.slices(this.#start, this.#end)) landCopy(slice, landing, () => false);
    } finally {
      this.destroy();
    }
  }

  destroy(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#copy.release();
  }
}

/** The version that a store's answer to a write names. */
function versionOf({ headers }: WriteAnswer): string | undefined {
  const values = new Map(headers);
  return values.get("x-goog-generation") ?? versionOfStoreTag(values.get("etag"));
}

function isCacheable([name, value]: readonly [name: string, value: string]): boolean {
  return !CUSTOMER_KEY.test(name) && !(name === "cache-control" && /\b(?:no-store|private)\b/i.test(value));
}
