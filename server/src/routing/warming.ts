import { type RunningCall, Unreachable } from "@frontcache/client/members";
import { CacheError, type Geometry, type MemberInfo, type PrefixRef, parseObjectUrl, WarmProgress } from "@frontcache/proto";
import { forEachConcurrent, Semaphore } from "@frontcache/proto/runtime";
import type { WarmedBlock, WarmRequest } from "../cache/block-warmer.js";
import type { LocalCache } from "../cache/local-cache.js";
import { CACHE_ITSELF } from "../security/principal.js";
import { ObjectWarming, type WarmObject } from "./object-warming.js";
import type { OtherMembers } from "./other-members.js";

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
  readonly others: OtherMembers;
}

/**
 * Warms the blocks of objects, each at its owner, a bounded number of them at a time. Resolves when every object has been reported to
 * have ended, well or not. Rejects with the error of `report` or of the listing of the objects, or with the signal's reason.
 */
export async function warmObjects(
  request: WarmingRequest,
  report: (progress: WarmProgress) => Promise<void>,
  options: WarmingOptions,
): Promise<void> {
  const { concurrency, dryRun, signal } = request;
  const semaphore = new Semaphore(concurrency);
  const block = ({ ref, version, objectSize }: WarmObject, blockOffset: number): Promise<WarmedBlock> =>
    semaphore.run(async () => {
      signal.throwIfAborted();
      return routed({ ref, version, objectSize, blockOffset, dryRun, signal }, options);
    });
  const using = { blockBytes: options.geometry.blockBytes, parallelism: concurrency, block, report, signal };
  await forEachConcurrent(objectsOf(request, report, options), concurrency, (object) => new ObjectWarming(object, using).run());
}

/** The named objects, then the listed ones, a page at a time. The bytes of a page are reported before it is warmed. */
async function* objectsOf(
  { objects, prefixes, signal }: WarmingRequest,
  report: (progress: WarmProgress) => Promise<void>,
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
        await report(WarmProgress.fromPartial({ key: ref.url, totalBytes: objectSize, totalBlocks }));
      }
      yield* listed;
      token = listing.nextToken;
    } while (token !== undefined);
  }
}

/** Has a block warmed where reads will look for it: at its owner, or if that is unreachable at the next member on the ring. */
async function routed(request: WarmRequest, { local, others }: WarmingOptions): Promise<WarmedBlock> {
  const { ref, blockOffset, signal } = request;
  const { others: members, thenHere } = others.route(ref.url, blockOffset, false);
  if (members.length === 0 && thenHere) return local.warm(request);
  const call = others.call(ref.url, signal);
  try {
    if (members.length > 0) return await others.first(members, (member) => warmAt(member, request, others, call), call);
  } catch (error) {
    if (!(error instanceof Unreachable) || signal.aborted) throw error;
    if (!thenHere) throw unreachableOwners(request, error);
  } finally {
    call.end();
  }
  if (!thenHere) throw unreachableOwners(request, undefined);
  return local.warm(request);
}

function unreachableOwners({ ref, blockOffset }: WarmRequest, cause: unknown): CacheError {
  const message = `${ref.url}: the members that own the block at offset ${blockOffset} are unreachable: warm it again when they are back`;
  return new CacheError("UNAVAILABLE", message, { cause });
}

/** Has another member warm a block. `from`: the name of a member that has the block cached. */
export async function warmAt(
  member: MemberInfo,
  request: WarmRequest & { readonly from?: string },
  others: OtherMembers,
  call: RunningCall,
): Promise<WarmedBlock> {
  const { ref, version, blockOffset, objectSize, dryRun, from = "" } = request;
  const block = { offset: blockOffset, objectSize: objectSize ?? 0, from };
  const order = { urls: [ref.url], prefixes: [], version: version ?? "", concurrency: 0, dryRun, block };
  let answer: WarmProgress | undefined;
  const onProgress = (progress: WarmProgress): void => {
    answer = progress;
  };
  await others.connections.calls.warm(member, order, onProgress, call);
  if (answer === undefined)
    throw new CacheError("INTERNAL", `${ref.url}: member ${member.name} did not report how its warming went`);
  const { cachedBytes, doneBytes, totalBytes } = answer;
  return { version: answer.version, objectSize: totalBytes, cachedBytes, fetchedBytes: doneBytes - cachedBytes };
}
