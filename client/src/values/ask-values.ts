import { CacheError } from "@frontcache/proto";
import { type FailoverOptions, orderByAvailability, withFailover } from "../members/failover.js";
import { NotSent, OutcomeUnknown } from "../members/http/object-requests.js";
import { type CallLimits, type MemberAddress, Unreachable } from "../members/ports.js";
import type { ValueTransport } from "../members/value-transport.js";
import type { BlockOwners } from "../read-block.js";

/** The collaborators of requests about values. */
export interface AskValuesWith {
  readonly transport: ValueTransport;
  readonly owners: Pick<BlockOwners, "addressesOf">;
  readonly failover: FailoverOptions;
}

/** A request about a value, or about the values of a bucket. */
export interface ValueCall<Result> {
  /** `cache://bucket/key`, or `cache://bucket`. */
  readonly url: string;
  /** It may be sent to another member after one may have received it. */
  readonly isRepeatable: boolean;
  at(transport: ValueTransport, address: MemberAddress): Promise<Result>;
}

/**
 * Sends a request to the members that keep a value, to one after the other until one answers. Rejects with OutcomeUnknown if a request that
 * is not repeatable may have been done.
 */
export async function askValues<Result>(
  { url, isRepeatable, at }: ValueCall<Result>,
  { transport, owners, failover }: AskValuesWith,
  limits: CallLimits,
): Promise<Result> {
  let mayRepeat = true;
  return await withFailover(
    {
      addresses: orderByAvailability(owners.addressesOf(url, 0), failover.breaker),
      mayRepeat: () => mayRepeat,
      at: async (address) => {
        try {
          return await at(transport, address);
        } catch (error) {
          const isUnreachable = error instanceof Unreachable;
          if (isRepeatable || error instanceof NotSent || (isUnreachable && !error.wasSent)) throw error;
          mayRepeat = false;
          if (!isUnreachable) throw error;
          throw new OutcomeUnknown(`${error.message}; whether the value was changed is not known`, { cause: error });
        }
      },
    },
    limits,
    failover,
  );
}

/** Resolves with undefined if there is no such value. */
export async function orUndefined<Result>(work: Promise<Result>): Promise<Result | undefined> {
  try {
    return await work;
  } catch (error) {
    if (CacheError.from(error).code === "NOT_FOUND") return undefined;
    throw error;
  }
}
