import type { BucketRef } from "@frontcache/proto";
import { type BucketPattern, covers } from "../config/bucket-pattern.js";
import { ANONYMOUS_NAME } from "./grants/grants.js";
import type { Principal } from "./principal.js";

/** A key pair of an origin. Requests are signed with it; it is never logged. */
export interface OriginKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Credentials of a principal's own at an origin, so that the origin decides what the principal may do. */
export interface OriginAccess {
  /** The name of the principal. */
  readonly principal: string;
  /** The buckets that are asked with these credentials. */
  readonly buckets: readonly BucketPattern[];
  readonly credentials: OriginKeys | "unsigned";
}

/** The port that names the credentials with which a principal's requests are sent to an origin. */
export interface OriginAccesses {
  /** The credentials of a principal for a bucket. Undefined: the members' own. The same object until the file changes. */
  of(principal: Principal, bucket: BucketRef): OriginAccess | undefined;
}

/** Nobody has credentials of its own. */
export const NO_ORIGIN_ACCESSES: OriginAccesses = { of: () => undefined };

/** The accesses that an identities file names, by the principals' names. The first one that covers a bucket counts. */
export type AccessesByName = ReadonlyMap<string, readonly OriginAccess[]>;

/** Reads the accesses of the file that is in use. */
export function originAccesses(current: () => AccessesByName): OriginAccesses {
  return {
    of(principal, bucket) {
      const byName = current();
      if (byName.size === 0 || principal.isMember) return undefined;
      const isAnonymous = principal.method === "anonymous";
      // Nobody may take the name of requests without credentials.
      if (!isAnonymous && principal.name === ANONYMOUS_NAME) return undefined;
      return byName.get(principal.name)?.find(({ buckets }) => buckets.some((pattern) => covers(pattern, bucket)));
    },
  };
}
