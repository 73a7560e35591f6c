import type { KeyProof } from "@frontcache/client/members";
import type { Peer } from "./member-authentication.js";
import type { Security } from "./member-security.js";
import { ANONYMOUS, type Principal } from "./principal.js";
import type { Tokens } from "./tokens.js";

/**
 * Authenticates the requests of one connection. It remembers the last accepted Authorization header and who the peer is, so that a
 * further request costs two comparisons. After a change of the tokens or of the member list they are checked again.
 */
export class ConnectionAuthentication {
  readonly #security: Security;
  #peer: Peer;
  #accepted: string | undefined;
  #acceptedBy: Tokens | undefined;
  #principal = ANONYMOUS;
  #judgedBy = -1;

  constructor(security: Security, peer: Peer) {
    this.#security = security;
    this.#peer = peer;
  }

  /** The peer proved something by a key of the members; undefined: nothing. */
  proved(proof: KeyProof | undefined): void {
    this.#peer = { ...this.#peer, proof };
    this.#judgedBy = -1;
  }

  /** Whom the requests of this connection are made for. */
  get principal(): Principal {
    const { members } = this.#security;
    if (this.#judgedBy !== members.revision) {
      this.#judgedBy = members.revision;
      this.#principal = members.principalOf(this.#peer);
    }
    return this.#principal;
  }

  /** Whether a valid token alone authenticates a request of this connection. */
  get tokenSuffices(): boolean {
    const { tls, tokens } = this.#security;
    return tokens !== undefined && (tls?.mutual !== true || this.#peer.isCertified);
  }

  /** Whether a request with this Authorization header is authenticated. */
  accepts(authorization: string | undefined): boolean {
    const { tls, tokens } = this.#security;
    if (tls?.mutual === true && !this.#peer.isCertified) return false;
    if (tokens === undefined) return true;
    if (tokens === this.#acceptedBy && authorization === this.#accepted) return true;
    if (!tokens.accepts(authorization)) return false;
    this.#acceptedBy = tokens;
    this.#accepted = authorization;
    return true;
  }
}
