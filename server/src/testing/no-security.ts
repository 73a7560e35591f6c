import { systemClock } from "../runtime/clock.js";
import { FailureCount } from "../security/failure-count.js";
import { Authorization } from "../security/grants/authorization.js";
import type { MemberAuthentication, Peer } from "../security/member-authentication.js";
import type { Security } from "../security/member-security.js";
import { ANONYMOUS, memberPrincipal } from "../security/principal.js";
import { silentLog } from "./silent-ports.js";

/** Every caller counts as a member, or none does. */
export function membersAre(who: "everybody" | "nobody"): MemberAuthentication {
  const principal = who === "everybody" ? memberPrincipal("of a test") : ANONYMOUS;
  const refusals = new FailureCount(systemClock, silentLog, "not-a-member", "not a member");
  return { revision: 0, principalOf: () => principal, listening: { name: "member", keys: [] }, refusals };
}

/** Plain text, and nothing is checked: every caller is authenticated and counts as a member. */
export const noSecurity: Security = {
  tls: undefined,
  authenticator: undefined,
  allowsAnonymous: false,
  exemptsMembers: false,
  authorization: new Authorization({ buckets: undefined, grants: () => undefined }),
  ownToken: undefined,
  members: membersAre("everybody"),
  caller: undefined,
};

/** A peer in plain text, or with a certificate that a trusted authority signed. */
export function testPeer(isCertified = false): Peer {
  return { address: "127.0.0.1", isCertified, certificate: undefined, proof: undefined };
}
