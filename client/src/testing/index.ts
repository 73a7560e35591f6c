// Exports for tests outside this package, in addition to its published interface. Never published.

// Internal modules, for tests of one component.
export { clientOver } from "../cache-client.js";
export { accessOf, plainAccess } from "../members/access.js";
export { BlockLanding, BufferLanding, PinnedObject } from "../members/block-landing.js";
export { type Clock, systemClock } from "../members/clock.js";
export type { Channels, ServiceCalls } from "../members/grpc/grpc-channels.js";
export { GrpcMembers } from "../members/grpc/grpc-members.js";
export { Unintelligible } from "../members/http/answer-head.js";
export { HttpTransport } from "../members/http/http-transport.js";
export { requestHead } from "../members/http/request-head.js";
export { CallerHandshake } from "../members/member-handshake.js";
export { type CallLimits, type MemberAddress, type MemberConnections, Unreachable } from "../members/ports.js";
export { RunningCall } from "../members/running-call.js";
export { clientMetricList, registeredMetrics } from "../metrics.js";
export { NearDisk } from "../near/disk/near-disk.js";
export { PageTarget } from "../near/page-target.js";
export { completeOptions } from "../options.js";
// Fakes and fixtures.

export * from "./no-object-requests.js";
export * from "./ramp.js";
export * from "./received-response.js";
export * from "./scripted-listener.js";
export * from "./values-at.js";
