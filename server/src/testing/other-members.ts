import { type BytesBy, connectMembers, type Clock as MembersClock } from "@frontcache/client/members";
import type { MemberInfo } from "@frontcache/proto";
import type { LocalCache } from "../cache/local-cache.js";
import type { ObjectService } from "../objects/object-answers.js";
import { ObjectHomes } from "../objects/object-homes.js";
import { accessOf } from "../routing/member-access.js";
import type { MemberView } from "../routing/member-view.js";
import { OtherMembers } from "../routing/other-members.js";
import type { Clock } from "../runtime/clock.js";
import type { Security } from "../security/member-security.js";
import { noSecurity } from "./no-security.js";

/** A clock whose random numbers are all equal. */
export function evenly(clock: Pick<Clock, "monotonicMs" | "after">): MembersClock {
  return {
    monotonicMs: () => clock.monotonicMs(),
    after: (delayMs, callback) => clock.after(delayMs, callback),
    random: () => 0.5,
  };
}

export interface OtherMembersFixture {
  readonly self: MemberInfo;
  readonly view: MemberView;
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
  readonly security?: Security;
  /** Default: gRPC, because fake members support only gRPC. */
  readonly transport?: BytesBy;
}

/** Opens a tested member's connections to real listeners of others. */
export function openOtherMembers(options: OtherMembersFixture): OtherMembers {
  const { self, view, security = noSecurity, transport = "grpc" } = options;
  const clock = evenly(options.clock);
  const access = accessOf(security);
  const connections = connectMembers({ clock, access, connectTimeoutMs: 1_000, transport, mostConnections: 8 });
  return new OtherMembers({ self, view, connections, clock });
}

/**
 * What decides with these members which version of each object is current. Records are as old as `frontcache serve` has them at
 * most.
 */
export function openObjectHomes(others: OtherMembers, local: LocalCache, clock: Clock): ObjectHomes {
  return new ObjectHomes({
    peers: others,
    membership: others.view.current,
    clock: { ...evenly(clock), nowMs: () => clock.nowMs() },
    local,
    revalidateAfterMs: 60_000,
    negativeTtlMs: 1_000,
    staleIfError: true,
    isRestarted: false,
    mayHaveOthers: false,
  });
}

/** A member that decides about no object. */
export const knowsNoObjects: ObjectService = {
  leaseToClient: () => 0,
  lookUp: async () => {},
  renew: ({ ids }) => ({ refused: [...ids], leaseMs: 0 }),
  versionChanged: () => {},
  handOver: async () => true,
};
