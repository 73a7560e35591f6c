import { CacheError, splitScheme } from "@frontcache/proto";
import { type FailoverOptions, orderByAvailability, withFailover } from "../members/failover.js";
import {
  NotSent,
  type ObjectRequest,
  type ObjectRequests,
  type ObjectResponse,
  OutcomeUnknown,
} from "../members/http/object-requests.js";
import { type CallLimits, Unreachable } from "../members/ports.js";
import type { BlockOwners } from "../read-block.js";

/** The collaborators of writes and listings. */
export interface SendWith {
  readonly requests: ObjectRequests;
  readonly owners: Pick<BlockOwners, "addressesOf">;
  readonly failover: FailoverOptions;
}

/**
 * Sends a request to the home of an object, or to the next members if that one is unreachable. A request that is not repeatable is
 * repeated only if no member has seen it. Rejects with OutcomeUnknown if it may or may not have been done.
 */
export async function send(request: ObjectRequest, using: SendWith, call: CallLimits): Promise<ObjectResponse> {
  const { requests, owners, failover } = using;
  const known = owners.addressesOf(request.subject, 0).filter(({ httpAddress }) => httpAddress !== undefined);
  if (known.length === 0) {
    const message =
      "writes and listings need members' HTTP listeners, and the member list names none: use --members name=host:port/port";
    throw new CacheError("UNAVAILABLE", `${request.subject}: ${message}`);
  }
  let mayRepeat = true;
  return await withFailover(
    {
      addresses: orderByAvailability(known, failover.breaker),
      mayRepeat: () => mayRepeat,
      at: (address) =>
        requests.send(address, request, call).catch((error: unknown) => {
          const isUndecided = error instanceof OutcomeUnknown || (error instanceof Unreachable && !(error instanceof NotSent));
          if (!isUndecided || request.isRepeatable) throw error;
          mayRepeat = false;
          if (error instanceof OutcomeUnknown) throw error;
          throw new OutcomeUnknown(`${error.message}; whether the object store has done it is not known`, { cause: error });
        }),
    },
    call,
    failover,
  );
}

/** The path of a bucket on members' HTTP listeners. */
export function bucketPath(url: string): string {
  const { scheme, rest } = splitScheme(url)!;
  return `/${scheme}/${rest.split("/", 1)[0]!}`;
}
