import { CacheError, type MemberInfo, type Membership } from "@frontcache/proto";
import type { WarmedBlock, WarmRequest } from "../cache/block-warmer.js";
import { Unreachable } from "./member-link.js";

/** What warming needs: who I am, who the others are, and the two ways to have a block warmed. */
export interface WarmRoute {
  readonly self: string;
  readonly membership: Membership;
  /** By this member's own cache. */
  local(request: WarmRequest): Promise<WarmedBlock>;
  /** Whether a member was out of reach a moment ago. */
  isAside(member: MemberInfo): boolean;
  /** By another member; rejects with OutOfReach where that one can't be reached. */
  forward(member: MemberInfo, request: WarmRequest): Promise<WarmedBlock>;
}

/** Members tried: the owner, and the one that takes over from it. Further on nobody would look for the block. */
const MAX_TRIES = 2;

/** Has a block warmed where reads will look for it: at its owner, or while that is out of reach at the next on the ring. */
export async function warmBlock(request: WarmRequest, route: WarmRoute): Promise<WarmedBlock> {
  const { ref, blockOffset, signal } = request;
  if (route.membership.owner(ref.url, blockOffset) === undefined) return route.local(request);
  let tries = 0;
  let failure: unknown;
  for (const member of route.membership.owners(ref.url, blockOffset)) {
    if (member.name === route.self) return route.local(request);
    if (route.isAside(member)) continue;
    if (tries++ === MAX_TRIES) break;
    try {
      return await route.forward(member, request);
    } catch (error) {
      if (!(error instanceof Unreachable) || signal.aborted) throw error;
      failure = error;
    }
  }
  throw new CacheError(
    "UNAVAILABLE",
    `${ref.url}: the members that the block at offset ${blockOffset} belongs to are out of reach: warm it again when they are back`,
    { cause: failure },
  );
}
