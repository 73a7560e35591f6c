import { type MemberInfo, Membership } from "@frontcache/proto";
import type { MemberSource } from "./member-source.js";
import { Published } from "./published.js";

/** The fixed members of `--members`. Throws INVALID_ARGUMENT as Membership.of does. */
export function staticMembers(members: readonly MemberInfo[], blockBytes: number): MemberSource {
  const published = new Published();
  published.publish(Membership.of(members, blockBytes));
  return {
    current: () => published.current,
    subscribe: (listener) => published.subscribe(listener),
    report: () => ({ ageMs: 0, failures: 0 }),
    close: async () => published.close(),
  };
}
