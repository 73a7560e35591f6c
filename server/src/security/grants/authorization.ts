import { type BucketRef, CacheError, type Scheme } from "@frontcache/proto";
import { type BucketPattern, covers, literalNames } from "../../config/bucket-pattern.js";
import type { Audit } from "../audit/audit-log.js";
import { type AuthenticationMethod, authenticationMethods, type Principal } from "../principal.js";
import type { Grant, Grants, Operation, Target } from "./grants.js";

/** Whether an operation is allowed, and why. */
export interface Decision {
  readonly isAllowed: boolean;
  /** It is the same for every principal. */
  readonly isFinal: boolean;
  /** One clause. */
  readonly reason: string;
}

/** What is allowed in this cluster at all, and to whom. */
export interface AuthorizationOptions {
  /** Buckets that are served; undefined: all. */
  readonly buckets: readonly BucketPattern[] | undefined;
  /** The grants now; undefined: every principal may do everything. Either always or never undefined. */
  readonly grants: () => Grants | undefined;
  /** Keeps what is denied. Absent: nobody does. */
  readonly audit?: Audit | undefined;
}

/** How many operations were allowed and denied. */
export interface DecisionCounts {
  allowed: number;
  denied: number;
}

/** What a principal did, or asked for. */
export interface Denied {
  readonly principal: Principal;
  readonly operation: Operation;
  readonly subject: string;
}

/** An operation that is denied. */
export class AccessDenied extends CacheError implements Denied {
  readonly principal: Principal;
  readonly operation: Operation;
  /** What was denied: the URL of an object, a beginning of URLs, or the operation of the cluster. */
  readonly subject: string;

  constructor({ principal, operation, subject }: Denied, { reason, isFinal }: Decision) {
    // A client without credentials may try again with some.
    const code = principal.method === "anonymous" && !isFinal ? "UNAUTHENTICATED" : "PERMISSION_DENIED";
    super(code, `${shortened(subject)}: access denied: ${reason}`, { s3Code: "AccessDenied" });
    this.principal = principal;
    this.operation = operation;
    this.subject = subject;
  }
}

/**
 * Decides which principal may do what: the one place where access to the cluster's objects is decided, for all listeners. Members are
 * exempt from grants, because the member that received a client's request has decided. No one is exempt from the list of buckets.
 */
export class Authorization {
  readonly #options: AuthorizationOptions;
  /** Whether everything is allowed to everybody, always. */
  readonly isOpen: boolean;
  /** Undefined: nobody keeps a record of what is denied. */
  readonly audit: Audit | undefined;
  /** Decisions, by how the principal was authenticated. */
  readonly counts = Object.fromEntries(authenticationMethods.map((method) => [method, { allowed: 0, denied: 0 }])) as Readonly<
    Record<AuthenticationMethod, DecisionCounts>
  >;

  constructor(options: AuthorizationOptions) {
    this.#options = options;
    this.audit = options.audit;
    this.isOpen = options.buckets === undefined && options.grants() === undefined;
  }

  /** Decides about an operation on an object, or on all keys with a beginning. */
  decide(principal: Principal, operation: Operation, target: Target): Decision {
    if (!this.#isServed(target.bucket)) return NOT_SERVED;
    const grants = this.#grantsFor(principal);
    if (grants === undefined) return ALLOWED;
    return explained(grants, grants.allowing(principal, operation, target), principal, operation);
  }

  /** Decides about an operation on the cluster. */
  decideCluster(principal: Principal, operation: "status"): Decision {
    const grants = this.#grantsFor(principal);
    if (grants === undefined) return ALLOWED;
    return explained(grants, grants.allowingCluster(principal, operation), principal, operation);
  }

  /** Whether an operation is allowed. The same decision as that of `decide`, without its reason: it is made for every read. */
  allows(principal: Principal, operation: Operation, target: Target): boolean {
    if (!this.#isServed(target.bucket)) return false;
    const grants = this.#grantsFor(principal);
    return grants === undefined || grants.allowing(principal, operation, target) !== undefined;
  }

  /** Throws AccessDenied unless the operation is allowed. `subject` is its URL. */
  check(principal: Principal, operation: Operation, target: Target, subject: string): void {
    if (this.allows(principal, operation, target)) this.counts[principal.method].allowed++;
    else this.#deny({ principal, operation, subject }, this.decide(principal, operation, target));
  }

  /** The same for an operation of the cluster. */
  checkCluster(principal: Principal, operation: "status"): void {
    const decision = this.decideCluster(principal, operation);
    if (decision.isAllowed) this.counts[principal.method].allowed++;
    else this.#deny({ principal, operation, subject: "the cluster" }, decision);
  }

  /** Throws AccessDenied unless the principal has a grant of any operation in the bucket: it may know that the bucket exists. */
  checkBucket(principal: Principal, bucket: BucketRef): void {
    if (this.seesBucket(principal, bucket)) return;
    const denial = { principal, operation: "list", subject: bucket.url } as const;
    this.#deny(denial, this.#isServed(bucket) ? denied(`${principal.name} has no grant in this bucket`) : NOT_SERVED);
  }

  /** Throws AccessDenied unless the principal has any grant: it may know the members. */
  checkCaller(principal: Principal): void {
    const grants = this.#grantsFor(principal);
    if (grants === undefined || grants.of(principal).length > 0) return;
    this.#deny({ principal, operation: "status", subject: "the members" }, denied(`${principal.name} has no grant`));
  }

  /** Whether the principal has a grant of any operation in the bucket. */
  seesBucket(principal: Principal, bucket: BucketPattern): boolean {
    if (!this.#isServed(bucket)) return false;
    const grants = this.#grantsFor(principal);
    return grants === undefined || grants.inBucket(principal, bucket) !== undefined;
  }

  /** The beginnings of the keys that may be listed among those of a target; see `Grants.listable`. */
  listable(principal: Principal, target: Target): readonly string[] {
    if (!this.#isServed(target.bucket)) return [];
    const ranges = this.#grantsFor(principal)?.listable(principal, target) ?? [target.prefix];
    if (ranges.length > 0) this.counts[principal.method].allowed++;
    return ranges;
  }

  /** The buckets that the principal may know, as far as the configuration names them. */
  namedBuckets(principal: Principal, scheme: Scheme): string[] {
    const grants = this.#grantsFor(principal);
    const names =
      grants === undefined ? literalNames(this.#options.buckets ?? [], scheme) : grants.namedBuckets(principal, scheme);
    return names.filter((bucket) => this.#isServed({ scheme, bucket }));
  }

  /** Records an operation that was allowed and has changed something. */
  done({ principal, operation, subject: object }: Denied): void {
    if (!principal.isMember) this.audit?.record({ outcome: "allowed", operation, object, principal });
  }

  /** Denies an operation whatever the grants say: records it, and throws AccessDenied. `reason`: one clause. */
  refuse(denial: Denied, reason: string): never {
    this.#deny(denial, { isAllowed: false, isFinal: true, reason });
  }

  /** Records an operation that a grant allows, but the object store denies. */
  deniedElsewhere({ principal, operation, subject: object }: Denied, reason: string): void {
    this.counts[principal.method].denied++;
    this.audit?.record({ outcome: "denied", operation, object, principal, reason });
  }

  #deny(denial: Denied, decision: Decision): never {
    const { principal, operation, subject: object } = denial;
    this.counts[principal.method].denied++;
    this.audit?.record({ outcome: "denied", operation, object, principal, reason: decision.reason });
    throw new AccessDenied(denial, decision);
  }

  #isServed(bucket: BucketPattern): boolean {
    const { buckets } = this.#options;
    return buckets === undefined || buckets.some((pattern) => covers(pattern, bucket));
  }

  #grantsFor(principal: Principal): Grants | undefined {
    return principal.isMember ? undefined : this.#options.grants();
  }
}

const ALLOWED: Decision = { isAllowed: true, isFinal: false, reason: "nothing restricts it" };

const NOT_SERVED: Decision = {
  isAllowed: false,
  isFinal: true,
  reason: "the bucket is not served here: ask for an allowed bucket (--allow-bucket)",
};

function denied(reason: string): Decision {
  return { isAllowed: false, isFinal: false, reason };
}

function explained(grants: Grants, grant: Grant | undefined, { name }: Principal, operation: Operation): Decision {
  if (grant === undefined) return denied(`no grant allows ${name} to ${VERBS[operation]}`);
  return { isAllowed: true, isFinal: false, reason: `grant ${grants.numberOf(grant)} allows ${name} to ${VERBS[operation]}` };
}

const VERBS: Readonly<Record<Operation, string>> = {
  read: "read it",
  list: "list it",
  write: "write it",
  delete: "delete it",
  warm: "warm it",
  evict: "evict it",
  status: "see the status of the cluster",
  admin: "administer it",
};

/** Longer than the URL of any object whose bucket and key are ASCII. An eviction's prefix is any text, and the message must fit. */
const MAX_NAME = 1_300;

function shortened(name: string): string {
  return name.length > MAX_NAME ? `${name.slice(0, MAX_NAME)}...`.toWellFormed() : name;
}
