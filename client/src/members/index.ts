/**
 * The internal entry of the package, for `@frontcache/server`: connections of clients and members to members. It is not
 * part of the public API and may change with any release.
 */
export { type Access, type AccessOptions, accessOf, plainAccess, type TlsOptions } from "./access.js";
export { BlockLanding, type BlockSpan, PinnedObject } from "./block-landing.js";
export { CircuitBreaker } from "./circuit-breaker.js";
export type { Clock } from "./clock.js";
export { type BytesBy, connectMembers } from "./connect-members.js";
export { ConnectionFailure, isRefused, unreachableCode } from "./connection-failure.js";
export { type CredentialOptions, tokenSource } from "./credentials.js";
export { type Attempt, type FailoverOptions, withFailover } from "./failover.js";
export { HttpObjectRequests, type ObjectRequests } from "./http/object-requests.js";
export {
  type CallingMember,
  type HandshakeOutcome,
  type KeyProof,
  ListenerHandshake,
  type ListenerStep,
  type ListeningMember,
  type MemberKey,
  memberKey,
} from "./member-handshake.js";
export {
  type AnswerHead,
  type AnswerSource,
  type BlockTransport,
  type CacheReport,
  type CallLimits,
  type Evicted,
  type EvictSelector,
  type MemberAddress,
  type MemberCalls,
  type MemberConnections,
  type MoveBytes,
  type ObjectCalls,
  type ObjectStat,
  type ReadRequest,
  type ReadTarget,
  Unreachable,
  type ValueCalls,
} from "./ports.js";
export { proveMember } from "./prove-member.js";
export { RunningCall } from "./running-call.js";
export { afterTicks } from "./silence-watch.js";
