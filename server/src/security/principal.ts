/** Who a request is made for. Every request of the ports Cache and Origin carries one. */
export interface Principal {
  /** For logs and decisions about access. Never a secret. */
  readonly name: string;
  /** Whether it proved to be a member of the cluster. */
  readonly isMember: boolean;
  /** The member's own name, if it proved it by a key of the members. A certificate or an address proves only that it is a member. */
  readonly memberName?: string | undefined;
}

/** A client that proved no identity. */
export const ANONYMOUS: Principal = Object.freeze({ name: "anonymous", isMember: false });

/** The cache itself: what it asks of origins and of other members for no client in particular, such as fills and revalidation. */
export const CACHE_ITSELF: Principal = Object.freeze({ name: "frontcache", isMember: true });

/** Another member. `name`: what it proved, a name or an address; `memberName`: its own name, if it proved that. */
export function memberPrincipal(name: string, memberName?: string): Principal {
  return Object.freeze({ name: `member ${name}`, isMember: true, memberName });
}
