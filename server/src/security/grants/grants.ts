import type { Scheme } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import { type BucketPattern, covers, literalNames } from "../../config/bucket-pattern.js";
import type { Principal } from "../principal.js";

/** What a grant can allow. */
export const operations = ["read", "list", "write", "delete", "warm", "evict", "status", "admin"] as const;

export type Operation = (typeof operations)[number];

/** Allows some principals some operations on some keys. */
export interface Grant {
  /**
   * Names, prefixes of names (`team-*`), and groups (`group:readers`, `group:team-*`). No pattern but the name itself means
   * `anonymous`.
   */
  readonly principals: readonly string[];
  readonly operations: ReadonlySet<Operation>;
  /** Empty for operations of the cluster, such as `status`. */
  readonly buckets: readonly BucketPattern[];
  /** Beginnings of keys, compared literally. The empty one means all keys. */
  readonly prefixes: readonly string[];
}

/** What an operation is about: all keys that begin with `prefix`. A key is the beginning of itself. */
export interface Target {
  /** A bucket or, for an eviction, all buckets of a pattern. */
  readonly bucket: BucketPattern;
  readonly prefix: string;
}

/** Operations that concern the cluster, not a bucket. */
export type ClusterOperation = "status";

/** The name of the principal without credentials. */
export const ANONYMOUS_NAME = "anonymous";

const GROUP = "group:";

/** Principals whose grants are remembered. */
const MAX_PRINCIPALS = 10_000;

/** Which operations are granted to whom. Everything else is denied. */
export class Grants {
  readonly #all: readonly Grant[];
  /** By name and groups. A table of weak references would keep each principal until a full collection of garbage. */
  readonly #byPrincipal = new BoundedMap<string, readonly Grant[]>(MAX_PRINCIPALS);
  /** The principal that asked last: most requests come in rows. */
  #last: { readonly principal: Principal; readonly grants: readonly Grant[] } | undefined;

  constructor(grants: readonly Grant[]) {
    this.#all = grants;
  }

  /** The grants of a principal, in the order of the file. */
  of(requester: Principal): readonly Grant[] {
    const principal = requester.identity ?? requester;
    if (this.#last?.principal === principal) return this.#last.grants;
    const { name, groups, method } = principal;
    const key = method === "anonymous" ? "" : JSON.stringify([name, ...groups]);
    let grants = this.#byPrincipal.get(key);
    if (grants === undefined) {
      grants = this.#all.filter(({ principals }) => principals.some((pattern) => isMeant(pattern, principal)));
      this.#byPrincipal.set(key, grants);
    }
    this.#last = { principal, grants };
    return grants;
  }

  /** The grant that allows an operation on all keys of a target; undefined: it is denied. */
  allowing(principal: Principal, operation: Operation, { bucket, prefix }: Target): Grant | undefined {
    for (const grant of this.of(principal)) {
      if (grant.operations.has(operation) && coversBucket(grant, bucket) && coversPrefix(grant, prefix)) return grant;
    }
    return undefined;
  }

  /** The grant that allows an operation of the cluster; undefined: it is denied. */
  allowingCluster(principal: Principal, operation: ClusterOperation): Grant | undefined {
    return this.of(principal).find((grant) => grant.operations.has(operation));
  }

  /** The first grant of a principal, of whatever operation, in a bucket; undefined: the principal has none. */
  inBucket(principal: Principal, bucket: BucketPattern): Grant | undefined {
    return this.of(principal).find((grant) => coversBucket(grant, bucket));
  }

  /** The number of this grant in the file, from 1 on. */
  numberOf(grant: Grant): number {
    return this.#all.indexOf(grant) + 1;
  }

  /**
   * The ranges of keys that a principal may list among those that begin with `prefix`, in byte order and disjoint: beginnings of keys.
   * `[prefix]`: all; empty: none.
   */
  listable(principal: Principal, { bucket, prefix }: Target): readonly string[] {
    if (this.allowing(principal, "list", { bucket, prefix }) !== undefined) return [prefix];
    const within = new Set<string>();
    for (const grant of this.of(principal)) {
      if (!grant.operations.has("list") || !coversBucket(grant, bucket)) continue;
      for (const each of grant.prefixes) if (each.startsWith(prefix)) within.add(each);
    }
    const sorted = [...within].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    return sorted.filter((each) => !sorted.some((other) => other !== each && each.startsWith(other)));
  }

  /** The names of buckets that grants of a principal name exactly. */
  namedBuckets(principal: Principal, scheme: Scheme): string[] {
    return literalNames(
      this.of(principal).flatMap(({ buckets }) => buckets),
      scheme,
    );
  }
}

function coversBucket({ buckets }: Grant, bucket: BucketPattern): boolean {
  for (const pattern of buckets) if (covers(pattern, bucket)) return true;
  return false;
}

function coversPrefix({ prefixes }: Grant, prefix: string): boolean {
  for (const each of prefixes) if (prefix.startsWith(each)) return true;
  return false;
}

/** Whether a pattern of a grant means a principal. */
function isMeant(pattern: string, { name, groups, method }: Principal): boolean {
  if (method === "anonymous") return pattern === ANONYMOUS_NAME;
  if (pattern === ANONYMOUS_NAME) return false;
  if (!pattern.startsWith(GROUP)) return matches(pattern, name);
  const group = pattern.slice(GROUP.length);
  return groups.some((each) => matches(group, each));
}

function matches(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}
