import { type Geometry, type MemberInfo, type PrefixRef, parseObjectUrl, WarmProgress } from "@frontcache/proto";
import { forEachConcurrent, Semaphore } from "@frontcache/proto/runtime";
import type { WarmedBlock, WarmRequest } from "../cache/block-warmer.js";
import type { LocalCache } from "../cache/local-cache.js";
import { CACHE_ITSELF } from "../security/principal.js";
import { forwardWarm } from "./forwarded-warm.js";
import { Unreachable } from "./member-link.js";
import type { MemberLinks } from "./member-links.js";
import type { MemberView } from "./member-view.js";
import { ObjectWarming, type WarmObject } from "./object-warming.js";
import { warmBlock } from "./warm-block.js";

/** Objects that one page of a listing has at most. */
const PAGE_KEYS = 1_000;

/** Objects to warm. */
export interface WarmingRequest {
  readonly objects: readonly WarmObject[];
  /** All objects under these, as the origin lists them, behind the others. */
  readonly prefixes: readonly PrefixRef[];
  /** Blocks at a time, at all members together; of them at most so many objects at a time. */
  readonly concurrency: number;
  /** Only looks what is missing. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
}

export interface WarmingOptions {
  readonly local: Pick<LocalCache, "warm" | "list">;
  readonly geometry: Geometry;
  readonly self: MemberInfo;
  readonly view: MemberView;
  readonly links: MemberLinks;
}

/**
 * Has the blocks of objects warmed, each by its owner, a bounded number of them at a time. Resolves when every object has
 * been told to have ended, well or not; rejects with what `tell` or the listing of the objects throws, or the signal's reason.
 */
export async function warmObjects(
  request: WarmingRequest,
  tell: (progress: WarmProgress) => Promise<void>,
  options: WarmingOptions,
): Promise<void> {
  const { concurrency, dryRun, signal } = request;
  const slots = new Semaphore(concurrency);
  const block = ({ ref, version, objectSize }: WarmObject, blockOffset: number): Promise<WarmedBlock> =>
    slots.run(async () => {
      signal.throwIfAborted();
      return routed({ ref, version, objectSize, blockOffset, dryRun, signal }, options);
    });
  const using = { blockBytes: options.geometry.blockBytes, parallelism: concurrency, block, tell, signal };
  await forEachConcurrent(objectsOf(request, tell, options), concurrency, (object) => new ObjectWarming(object, using).run());
}

/** The named objects, then the listed ones, a page at a time; of a page it is told at once how much there is to do. */
async function* objectsOf(
  { objects, prefixes, signal }: WarmingRequest,
  tell: (progress: WarmProgress) => Promise<void>,
  { local, geometry }: WarmingOptions,
): AsyncGenerator<WarmObject> {
  yield* objects;
  for (const ref of prefixes) {
    let token: string | undefined;
    do {
      const page = { delimiter: "", maxKeys: PAGE_KEYS, ...(token === undefined ? {} : { token }) };
      const listing = await local.list({ kind: "list", ref, page, signal, principal: CACHE_ITSELF });
      const listed = listing.objects.map(({ key, version, objectSize }) => {
        return { ref: parseObjectUrl(`${ref.scheme}://${ref.bucket}/${key}`), version, objectSize };
      });
      for (const { ref, objectSize } of listed) {
        const totalBlocks = Math.ceil(objectSize / geometry.blockBytes);
        await tell(WarmProgress.fromPartial({ key: ref.url, totalBytes: objectSize, totalBlocks }));
      }
      yield* listed;
      token = listing.nextToken;
    } while (token !== undefined);
  }
}

function routed(request: WarmRequest, { local, self, view, links }: WarmingOptions): Promise<WarmedBlock> {
  return warmBlock(request, {
    self: self.name,
    membership: view.current,
    local: (block) => local.warm(block),
    isAside: (member) => links.isAside(member),
    async forward(member, block) {
      try {
        return await forwardWarm(links.to(member), block);
      } catch (error) {
        if (error instanceof Unreachable) links.lost(member);
        throw error;
      }
    },
  });
}
