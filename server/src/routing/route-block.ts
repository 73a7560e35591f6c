import type { MemberInfo, Membership } from "@frontcache/proto";
import type { BlockRequest } from "../cache/block-request.js";
import type { ObjectRead } from "../cache/object-read.js";
import { Unreachable } from "./member-link.js";

/** What routing needs: who I am, who the others are, and the two ways to answer. */
export interface Route {
  readonly self: string;
  readonly membership: Membership;
  /** Answers from this member's own cache. */
  local(request: BlockRequest): ObjectRead | Promise<ObjectRead>;
  /** Whether a member was out of reach a moment ago. */
  isAside(member: MemberInfo): boolean;
  /** Has another member answer; rejects with OutOfReach where that one can't be reached. */
  forward(member: MemberInfo, request: BlockRequest): Promise<ObjectRead>;
}

/** Other members tried before this one answers itself: the owner, and the one that takes over from it. */
const MAX_TRIES = 2;

/**
 * The distributed read of one block. Mine, or sent here by a member: from my cache. Else from its owner; the owner out of
 * reach: from the next member on the ring; nobody in reach: from my cache after all. A read is sent on at most once, because
 * `forwarded` travels with it; members that disagree about the ring fill a block twice at worst.
 */
export function routeBlock(request: BlockRequest, forwarded: boolean, route: Route): ObjectRead | Promise<ObjectRead> {
  const owner = route.membership.owner(request.ref.url, request.blockOffset);
  if (forwarded || owner === undefined || owner.name === route.self) return route.local(request);
  return forwardBlock(request, route);
}

async function forwardBlock(request: BlockRequest, route: Route): Promise<ObjectRead> {
  let tries = 0;
  for (const member of route.membership.owners(request.ref.url, request.blockOffset)) {
    if (member.name === route.self || tries === MAX_TRIES) break;
    if (route.isAside(member)) continue;
    tries++;
    try {
      return await route.forward(member, request);
    } catch (error) {
      if (!(error instanceof Unreachable) || request.signal.aborted) throw error;
    }
  }
  return route.local(request);
}
