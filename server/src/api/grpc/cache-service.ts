import { cacheService } from "@frontcache/client/grpc";
import {
  checkRange,
  checkUrlBeginning,
  type EvictRequest,
  type EvictResponse,
  infoToStat,
  type LookupOwnerRequest,
  type LookupOwnerResponse,
  type LookupOwnersResponse,
  type MemberList,
  parseObjectUrl,
  type ReadRangeRequest,
  type ReadRangeResponse,
  type StatRequest,
  type StatResponse,
  type TouchRequest,
  type TouchResponse,
  type WarmProgress,
  type WarmRequest,
  type WatchMembersRequest,
} from "@frontcache/proto";
import type { ServerWritableStream } from "@grpc/grpc-js";
import type { ObjectService } from "../../objects/object-answers.js";
import type { Cache, EvictQuestion, MemberDirectory } from "../../routing/cache.js";
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import type { FailureCount } from "../../security/failure-count.js";
import type { Authorization } from "../../security/grants/authorization.js";
import { isMembersRequest, requireMember } from "../../security/member-authentication.js";
import type { Principal } from "../../security/principal.js";
import type { ValueService } from "../../values/value-service.js";
import type { Clients } from "../limits/clients.js";
import type { CallerOf } from "./call-authentication.js";
import { objectServiceHandlers } from "./object-service.js";
import { ReadRangeCall } from "./read-range-call.js";
import { serializeInPlace } from "./read-range-sink.js";
import type { RunningCalls } from "./running-calls.js";
import { type CallContext, unaryCall } from "./unary-call.js";
import { valueHandlers } from "./value-handlers.js";
import { WarmCall } from "./warm-call.js";
import { WatchMembersCall } from "./watch-members-call.js";

/** The methods that a member serves. */
export const servedMethods = {
  lookupOwner: cacheService.lookupOwner,
  readRange: { ...cacheService.readRange, responseSerialize: serializeInPlace },
  stat: cacheService.stat,
  evict: cacheService.evict,
  warm: cacheService.warm,
  touch: cacheService.touch,
  watchMembers: cacheService.watchMembers,
  lookUpRecords: cacheService.lookUpRecords,
  renewLeases: cacheService.renewLeases,
  versionChanged: cacheService.versionChanged,
  handOver: cacheService.handOver,
  callValues: cacheService.callValues,
  watchValues: cacheService.watchValues,
};

export interface CacheServiceOptions {
  /** Throws UNAVAILABLE while the member starts. */
  readonly cache: () => Cache;
  /** Throws UNAVAILABLE while the member starts. */
  readonly members: () => MemberDirectory;
  /** Throws UNAVAILABLE while the member starts. */
  readonly objects: () => ObjectService;
  /** Undefined: this member keeps no values. Throws UNAVAILABLE while the member starts. */
  readonly values: () => ValueService | undefined;
  readonly calls: RunningCalls;
  /** Aborted when the listener closes. */
  readonly closing: AbortSignal;
  /** As in WatchMembersCallOptions. */
  readonly httpSocket?: string | undefined;
  readonly clients: Clients;
  /** Closes the connection from an `address:port`. */
  readonly cutOff: (peer: string) => void;
  /** Returns who makes a call. */
  readonly callerOf: CallerOf;
  /** Decides who may look up the owners of a block. The cache decides about everything else. */
  readonly authorization: Pick<Authorization, "check">;
  /** Counts requests that only members may send, from other callers. */
  readonly refusals: FailureCount;
  readonly clock: Clock;
  readonly log: Log;
}

/** The handlers of `servedMethods`. */
export function cacheServiceHandlers(options: CacheServiceOptions) {
  const { cache, refusals } = options;
  const isFromMember = (what: string, { principal, peer: client }: CallContext): boolean =>
    isMembersRequest({ what, principal, listener: "grpc", client }, refusals);
  return {
    ...objectServiceHandlers(options),
    ...valueHandlers(options),
    lookupOwner: unaryCall<LookupOwnerRequest, LookupOwnerResponse>(
      "LookupOwner",
      ({ key, offset }, { principal }) => {
        const [addr = ""] = ownersOf({ key, offset }, principal, options);
        return { addr };
      },
      options,
    ),
    readRange: (call: ServerWritableStream<ReadRangeRequest, ReadRangeResponse>): void => {
      new ReadRangeCall(call, options).run();
    },
    stat: unaryCall<StatRequest, StatResponse>(
      "Stat",
      async ({ key, version, checksums, ...request }, context) => {
        const { principal, signal } = context;
        const forwarded = request.forwarded && isFromMember("a forwarded Stat", context);
        const of = { ref: parseObjectUrl(key), version: version === "" ? undefined : version, forwarded, checksums };
        const { info, cachedBytes, isStale } = await cache().ask({ kind: "stat", ...of, principal, signal });
        const mayLease = request.lease && of.version === undefined && !isStale;
        const leaseMs = mayLease ? options.objects().leaseToClient(of.ref.url, info.version) : 0;
        return { ...infoToStat(info), cachedBytes, leaseMs };
      },
      options,
    ),
    evict: unaryCall<EvictRequest, EvictResponse>(
      "Evict",
      async (request, { principal, peer: client, signal }) => {
        const { forwarded } = request;
        // As a client's it would go to all members. Members that do not know each other would send it to and fro without end.
        if (forwarded) requireMember({ what: "Evict at one member", principal, listener: "grpc", client }, refusals);
        return cache().ask({ kind: "evict", selector: selectorOf(request), forwarded, principal, signal });
      },
      options,
    ),
    warm: (call: ServerWritableStream<WarmRequest, WarmProgress>): void => {
      call.once("cancelled", options.calls.begin());
      void new WarmCall(call, options).run();
    },
    touch: unaryCall<TouchRequest, TouchResponse>(
      "Touch",
      async ({ blocks: touched }, { principal, signal }) => {
        const blocks = touched.map(({ key: url, version, offset }) => ({ url, version, offset }));
        return { cached: await cache().ask({ kind: "touch", blocks, principal, signal }) };
      },
      options,
    ),
    // Not counted as a running call: it has no natural end that a drain could wait for.
    watchMembers: (call: ServerWritableStream<WatchMembersRequest, MemberList>): void =>
      new WatchMembersCall(call, options).run(),
  };
}

/** The handlers of FrontCache's RouterService. */
export function routerServiceHandlers(
  options: Pick<CacheServiceOptions, "members" | "calls" | "callerOf" | "authorization" | "log">,
) {
  return {
    lookupOwner: unaryCall<LookupOwnerRequest, LookupOwnersResponse>(
      "RouterService.LookupOwner",
      (request, { principal }) => ({ addrs: [...ownersOf(request, principal, options)] }),
      options,
    ),
  };
}

function ownersOf(
  { key, offset }: LookupOwnerRequest,
  principal: Principal,
  { members, authorization }: Pick<CacheServiceOptions, "members" | "authorization">,
): readonly string[] {
  const ref = parseObjectUrl(key);
  checkRange(key, offset, 0);
  authorization.check(principal, "read", { bucket: ref, prefix: ref.key }, ref.url);
  return members().ownersOf(ref, offset);
}

/** Returns the blocks to evict. A prefix must contain a scheme, so that a missing key never empties the cache. */
function selectorOf({ key, version, prefix }: EvictRequest): EvictQuestion["selector"] {
  const of = version === "" ? {} : { version };
  if (!prefix) return { url: parseObjectUrl(key).url, ...of };
  return { prefix: checkUrlBeginning(key), ...of };
}
