import type { CallLimits, ObjectCalls, RunningCall } from "@frontcache/client/members";
import type { MemberInfo, Membership } from "@frontcache/proto";
import type { RecentCallers } from "../security/recent-callers.js";

/** The other members, as far as object records need them. `OtherMembers` in `routing/` is the implementation. */
export interface Peers {
  readonly self: MemberInfo;
  readonly view: { readonly current: Membership };
  readonly connections: { readonly objects: ObjectCalls };
  /** For whom questions are asked, if principals have origin credentials of their own. */
  readonly callers: RecentCallers;
  /** The members to ask about an object, its home first, up to this member; unreachable ones are left out. */
  route(
    url: string,
    blockOffset: number,
    forwarded: boolean,
  ): { readonly others: readonly MemberInfo[]; readonly thenHere: boolean };
  /** Has the first of these members that can be reached do something. Rejects with Unreachable if none can. */
  first<Result>(members: readonly MemberInfo[], at: (member: MemberInfo) => Promise<Result>, limits: CallLimits): Promise<Result>;
  /** The member has called this one: it can be reached again. */
  heardOf(member: MemberInfo): void;
  /** When a probe of a member succeeded last since it became unreachable, monotonic milliseconds; -Infinity: none has. */
  answeredAtMs(member: MemberInfo): number;
  /** A call on behalf of a request; `end` must be called. */
  call(subject: string, signal: AbortSignal, deadlineMs?: number): RunningCall;
}
