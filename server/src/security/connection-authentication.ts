import type { KeyProof } from "@frontcache/client/members";
import { CacheError } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { Authenticated, FormFields, PresentedRequest } from "./authenticator.js";
import type { Peer } from "./member-authentication.js";
import type { Security } from "./member-security.js";
import { ANONYMOUS, type Principal } from "./principal.js";
import { refused } from "./signatures/authorization-header.js";
import { mayBePresigned } from "./signatures/presigned.js";
import type { ChunkSignatures } from "./signatures/signer.js";
import { WRONG_TOKEN } from "./tokens/presented-token.js";

/** The error of a request that presents no valid credentials, or none at all where some are required. */
const unauthenticated = (): CacheError => new CacheError("UNAUTHENTICATED", `no trusted client certificate, or ${WRONG_TOKEN}`);

/**
 * Authenticates the requests of one connection. It remembers the last accepted Authorization header and who the peer is, so that a
 * further request costs two comparisons. After a change of the files or of the member list they are checked again.
 */
export class ConnectionAuthentication {
  readonly #security: Security;
  readonly #clock: Pick<Clock, "nowMs">;
  #peer: Peer;
  /** Who the peer is by its connection alone. */
  #peerPrincipal = ANONYMOUS;
  #judgedBy = -1;
  /** The Authorization header that was accepted last, and whom it proved. */
  #authorization: string | undefined;
  #principal: Principal | undefined;
  #untilMs = 0;
  #revision = -1;

  constructor(security: Security, peer: Peer, clock: Pick<Clock, "nowMs">) {
    this.#security = security;
    this.#peer = peer;
    this.#clock = clock;
  }

  /** The peer proved something by a key of the members; undefined: nothing. */
  proved(proof: KeyProof | undefined): void {
    this.#peer = { ...this.#peer, proof };
    this.#judgedBy = -1;
  }

  /** Whether a password that is a token would authenticate a request of this connection. */
  get acceptsPasswords(): boolean {
    const { tls, authenticator } = this.#security;
    return authenticator !== undefined && (tls?.mutual !== true || this.#peer.isCertified);
  }

  /**
   * Returns who makes a request whose credentials need no verification: the connection proves them, or they were accepted last.
   * Undefined: `authenticate` decides.
   */
  known(request: PresentedRequest): Principal | undefined {
    const { tls, authenticator, exemptsMembers } = this.#security;
    if (tls?.mutual === true && !this.#peer.isCertified) return undefined;
    const peer = this.#byConnection();
    if (authenticator === undefined || (peer.isMember && exemptsMembers)) return peer;
    const isAsBefore =
      request.headers.authorization === this.#authorization &&
      authenticator.revision === this.#revision &&
      (this.#untilMs === Number.POSITIVE_INFINITY || this.#clock.nowMs() < this.#untilMs) &&
      !mayBePresigned(request.url ?? "");
    return isAsBefore ? this.#principal : undefined;
  }

  /**
   * Returns who makes a request, at once unless another system must be asked. Throws, or rejects with, a CacheError: UNAUTHENTICATED
   * without valid credentials, or what an authenticator says.
   */
  authenticate(request: PresentedRequest): Principal | Promise<Principal> {
    const known = this.known(request);
    if (known !== undefined) return known;
    const { authenticator } = this.#security;
    if (authenticator === undefined || (this.#security.tls?.mutual === true && !this.#peer.isCertified)) throw unauthenticated();
    const { revision } = authenticator;
    const found = authenticator.authenticate(request, this.#peer);
    if (found instanceof Promise) return found.then((known) => this.#accept(known, request, revision));
    return this.#accept(found, request, revision);
  }

  /** As `Authenticator.chunkSignatures`, for a request that is authenticated. */
  chunkSignatures(request: PresentedRequest): ChunkSignatures | undefined {
    return this.#security.authenticator?.chunkSignatures?.(request);
  }

  /**
   * The principal that signed the policy of a form. Undefined: signatures are not verified here. Throws UNAUTHENTICATED for a wrong
   * signature, or one by an unknown key.
   */
  authenticateForm(fields: FormFields): Principal | undefined {
    const { authenticator } = this.#security;
    if (authenticator === undefined) return undefined;
    const found = authenticator.authenticateForm?.(fields);
    if (found !== undefined) return found.principal;
    throw refused("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.");
  }

  #byConnection(): Principal {
    const { members } = this.#security;
    if (this.#judgedBy !== members.revision) {
      this.#judgedBy = members.revision;
      this.#peerPrincipal = members.principalOf(this.#peer);
      this.#principal = undefined;
    }
    return this.#peerPrincipal;
  }

  #accept(found: Authenticated | undefined, { headers, url = "" }: PresentedRequest, revision: number): Principal {
    const { authorization } = headers;
    if (found === undefined) {
      const presentsNothing = authorization === undefined && !mayBePresigned(url);
      if (!presentsNothing || !this.#security.allowsAnonymous) throw unauthenticated();
      this.#remember(authorization, this.#peerPrincipal, Number.POSITIVE_INFINITY, revision);
      return this.#peerPrincipal;
    }
    // A member proves with a token that it may call, and by its connection that it is a member.
    const principal = this.#peerPrincipal.isMember ? this.#peerPrincipal : found.principal;
    if (found.untilMs !== undefined && !mayBePresigned(url)) this.#remember(authorization, principal, found.untilMs, revision);
    return principal;
  }

  /** `authorization`: undefined if the request has none. */
  #remember(authorization: string | undefined, principal: Principal, untilMs: number, revision: number): void {
    this.#authorization = authorization;
    this.#principal = principal;
    this.#untilMs = untilMs;
    this.#revision = revision;
  }
}
