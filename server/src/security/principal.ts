/** By what a principal was authenticated. */
export const authenticationMethods = [
  /** By nothing: the request presents no credentials. */
  "anonymous",
  /** By the proof of a member's connection. */
  "member",
  /** By a bearer token of `--auth-token-file` or of the identities file. */
  "token",
  /** By the signature of an S3 request. */
  "signature",
  /** By a client certificate. */
  "certificate",
  /** By a JSON web token of an issuer, such as a Kubernetes ServiceAccount token. */
  "jwt",
] as const;

export type AuthenticationMethod = (typeof authenticationMethods)[number];

/** Where a request came from, for the audit log. */
export interface RequestSource {
  readonly listener: string;
  /** Undefined: the connection is closed. */
  readonly address: string | undefined;
  readonly requestId: string;
}

/** Who a request is made for. Every request of the ports Cache and Origin carries one. */
export interface Principal {
  /** For logs and decisions about access. Never a secret. */
  readonly name: string;
  /** Whether it proved to be a member of the cluster. */
  readonly isMember: boolean;
  /** The member's own name, if it proved it by a key of the members. A certificate or an address proves only that it is a member. */
  readonly memberName?: string | undefined;
  /** Its groups, as grants name them. */
  readonly groups: readonly string[];
  readonly method: AuthenticationMethod;
  /** The request that it makes. Absent: nobody keeps a record of it. */
  readonly source?: RequestSource | undefined;
  /** The same principal without a request. Absent: it is that. */
  readonly identity?: Principal | undefined;
}

const NO_GROUPS: readonly string[] = [];

/** A client that proved no identity. */
export const ANONYMOUS: Principal = Object.freeze({ name: "anonymous", isMember: false, groups: NO_GROUPS, method: "anonymous" });

/** The cache itself: what it asks of origins and of other members for no client in particular, such as fills and revalidation. */
export const CACHE_ITSELF: Principal = Object.freeze({ name: "frontcache", isMember: true, groups: NO_GROUPS, method: "member" });

/** A client that proved its identity. */
export function clientPrincipal(
  name: string,
  method: Exclude<AuthenticationMethod, "anonymous" | "member">,
  groups: readonly string[] = NO_GROUPS,
): Principal {
  return Object.freeze({ name, isMember: false, groups, method });
}

/** The principal of one request, which the audit log may name. */
export function requesting(identity: Principal, source: RequestSource): Principal {
  return { ...identity, source, identity };
}

/** Another member. `name`: what it proved, a name or an address; `memberName`: its own name, if it proved that. */
export function memberPrincipal(name: string, memberName?: string): Principal {
  return Object.freeze({ name: `member ${name}`, isMember: true, memberName, groups: NO_GROUPS, method: "member" });
}
