import type { MemberInfo } from "@frontcache/proto";
import type { MemberSource } from "./member-source.js";
import { staticMembers } from "./static-members.js";

/** A single member that owns every block. */
export function alone(self: MemberInfo, blockBytes: number): MemberSource {
  return staticMembers([self], blockBytes);
}
