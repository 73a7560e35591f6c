import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { KeyProof, ListeningMember, MemberKey } from "@frontcache/client/members";
import { CacheError } from "@frontcache/proto";
import { namesIn } from "./certificate-names.js";
import type { FailureCount, ListenerName } from "./failure-count.js";
import type { MemberAddresses } from "./member-addresses.js";
import { ANONYMOUS, memberPrincipal, type Principal } from "./principal.js";

/** What is known of the other end of a connection. */
export interface Peer {
  /** Its IP address; undefined: the connection is closed. */
  readonly address: string | undefined;
  /** It presented a certificate that a trusted authority signed. */
  readonly isCertified: boolean;
  /** That certificate. */
  readonly certificate: X509Certificate | undefined;
  /** What it proved by a key of the members; undefined: nothing. */
  readonly proof: KeyProof | undefined;
}

/** The peer of an accepted connection, after its TLS handshake, if any. */
export function peerOf(socket: Socket): Peer {
  const isCertified = socket instanceof TLSSocket && socket.authorized;
  return {
    address: socket.remoteAddress,
    isCertified,
    certificate: isCertified ? socket.getPeerX509Certificate() : undefined,
    proof: undefined,
  };
}

/** Decides which connections are other members'. Only from a member is a request accepted as forwarded, and a member's call answered. */
export interface MemberAuthentication {
  /** Changes whenever the same peer may be judged differently. */
  readonly revision: number;
  /** Whom the requests of a connection are made for. */
  principalOf(peer: Peer): Principal;
  /** How this member answers others that prove themselves by a key. */
  readonly listening: ListeningMember;
  /** Requests that only members may make, by others. */
  readonly refusals: FailureCount;
}

export interface MemberProofOptions {
  /** This member's own name. */
  readonly self: string;
  /** The keys that members share; undefined: members have none. */
  readonly keys: { readonly current: readonly MemberKey[]; readonly revision: number } | undefined;
  /** The name in the certificates of members; undefined: certificates prove no member. */
  readonly certifiedName: string | undefined;
  readonly addresses: MemberAddresses;
  readonly refusals: FailureCount;
}

/** Recognizes members by a key or by the name in their certificates. If neither is configured, by the addresses of the member list. */
export class MemberProof implements MemberAuthentication {
  readonly refusals: FailureCount;
  readonly #options: MemberProofOptions;

  constructor(options: MemberProofOptions) {
    this.#options = options;
    this.refusals = options.refusals;
  }

  get revision(): number {
    const { addresses, keys } = this.#options;
    return addresses.revision + (keys?.revision ?? 0);
  }

  get listening(): ListeningMember {
    return { name: this.#options.self, keys: this.#options.keys?.current ?? [] };
  }

  /** Whether nothing but its address proves a member. */
  get isByAddress(): boolean {
    return this.#options.keys === undefined && this.#options.certifiedName === undefined;
  }

  principalOf({ address, certificate, proof }: Peer): Principal {
    const { keys, certifiedName, addresses } = this.#options;
    if (this.isByAddress) return address !== undefined && addresses.has(address) ? memberPrincipal(address) : ANONYMOUS;
    // A key that was removed from the file proves nothing any more.
    if (proof !== undefined && keys?.current.some(({ id }) => id === proof.key.id))
      return memberPrincipal(proof.name, proof.name);
    const isCertified = certifiedName !== undefined && certificate !== undefined && isNamed(certificate, certifiedName);
    return isCertified ? memberPrincipal(certifiedName) : ANONYMOUS;
  }
}

/** Whether a certificate names a host (SAN or, without any, the common name), a URI (SAN), or exactly this common name. */
function isNamed(certificate: X509Certificate, name: string): boolean {
  if (certificate.checkHost(name) !== undefined) return true;
  const { names } = namesIn(certificate);
  return names.includes(`URI:${name}`) || names.includes(`CN=${name}`);
}

/** A request that only members may make. */
export interface MembersRequest {
  /** What was requested, for the log. */
  readonly what: string;
  readonly principal: Principal;
  readonly listener: ListenerName;
  /** The caller's address. */
  readonly client: string | undefined;
}

/** Whether a caller is a member. If it is not, the request is counted and logged, and must be treated as a client's. */
export function isMembersRequest({ what, principal, listener, client }: MembersRequest, refusals: FailureCount): boolean {
  if (!principal.isMember) refusals.failed(`${what} by ${principal.name} counts as a client's`, { listener, client });
  return principal.isMember;
}

/** Throws PERMISSION_DENIED, counted and logged, unless the caller is a member. For calls that clients never make. */
export function requireMember(request: MembersRequest, refusals: FailureCount): void {
  const { what, principal } = request;
  if (!principal.isMember) refuse(`${what} is accepted from members only`, request, refusals);
}

/** The same for a call in which a member names itself: it must be the name that its connection proved, if that proved one. */
export function requireMemberNamed(name: string, request: MembersRequest, refusals: FailureCount): void {
  requireMember(request, refusals);
  const { what, principal } = request;
  if (principal.memberName === undefined || principal.memberName === name) return;
  refuse(`${what} in the name of member ${JSON.stringify(name.slice(0, MAX_LOGGED_NAME))} is refused`, request, refusals);
}

/** Characters of a name that a caller claims, in the log. */
const MAX_LOGGED_NAME = 100;

function refuse(message: string, { principal, listener, client }: MembersRequest, refusals: FailureCount): never {
  refusals.failed(`${message}, not from ${principal.name}`, { listener, client });
  throw new CacheError("PERMISSION_DENIED", message);
}
