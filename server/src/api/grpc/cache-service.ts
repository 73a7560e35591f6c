import { cacheService } from "@frontcache/client/grpc";
import {
  checkRange,
  checkUrlBeginning,
  type EvictRequest,
  type EvictResponse,
  type LookupOwnerRequest,
  type LookupOwnerResponse,
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
import type { Clock } from "../../runtime/clock.js";
import type { Log } from "../../runtime/log.js";
import type { Clients } from "../limits/clients.js";
import type { Reader } from "../reader.js";
import { ReadRangeCall } from "./read-range-call.js";
import { serializeInPlace } from "./read-range-message.js";
import type { RunningCalls } from "./running-calls.js";
import { unaryCall } from "./unary-call.js";
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
};

export interface CacheServiceOptions {
  /** Throws UNAVAILABLE while the member starts. */
  readonly reader: () => Reader;
  readonly calls: RunningCalls;
  /** Aborted when the listener closes. */
  readonly closing: AbortSignal;
  readonly clients: Clients;
  /** Cuts off the connection from an `address:port`. */
  readonly cutOff: (peer: string) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** The handlers of `servedMethods`. */
export function cacheServiceHandlers(options: CacheServiceOptions) {
  const { reader } = options;
  return {
    lookupOwner: unaryCall<LookupOwnerRequest, LookupOwnerResponse>(
      "LookupOwner",
      ({ key, offset }) => {
        const ref = parseObjectUrl(key);
        checkRange(key, offset, 0);
        return { addr: reader().ownerOf(ref, offset) };
      },
      options,
    ),
    readRange: (call: ServerWritableStream<ReadRangeRequest, ReadRangeResponse>): void => {
      call.once("cancelled", options.calls.begin());
      new ReadRangeCall(call, options).run();
    },
    stat: unaryCall<StatRequest, StatResponse>(
      "Stat",
      async ({ key, version }, signal) => {
        const { info, heldBytes } = await reader().stat(parseObjectUrl(key), version === "" ? undefined : version, signal);
        const { objectSize, contentType = "", lastModifiedMs = 0 } = info;
        return { version: info.version, objectSize, contentType, lastModifiedMs, heldBytes };
      },
      options,
    ),
    evict: unaryCall<EvictRequest, EvictResponse>(
      "Evict",
      (request, signal) => reader().evict(selectorOf(request), signal),
      options,
    ),
    warm: (call: ServerWritableStream<WarmRequest, WarmProgress>): void => {
      call.once("cancelled", options.calls.begin());
      void new WarmCall(call, options).run();
    },
    touch: unaryCall<TouchRequest, TouchResponse>(
      "Touch",
      ({ blocks }) => ({ held: reader().touch(blocks.map(({ key: url, version, offset }) => ({ url, version, offset }))) }),
      options,
    ),
    // Not counted among the running calls: it has no end of its own that a drain could wait for.
    watchMembers: (call: ServerWritableStream<WatchMembersRequest, MemberList>): void =>
      new WatchMembersCall(call, options).run(),
  };
}

/** A prefix names at least its scheme, so that a forgotten key never empties the cache. */
function selectorOf({ key, version, prefix, forwarded }: EvictRequest): Parameters<Reader["evict"]>[0] {
  const of = version === "" ? {} : { version };
  if (!prefix) return { url: parseObjectUrl(key).url, ...of, forwarded };
  return { prefix: checkUrlBeginning(key), ...of, forwarded };
}
