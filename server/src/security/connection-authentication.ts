import type { Security } from "./member-security.js";
import type { Tokens } from "./tokens.js";

/**
 * Authenticates the requests of one HTTP connection. It remembers the last accepted Authorization header, so that a further
 * request costs one string comparison. After a change of the tokens the header is checked again.
 */
export class ConnectionAuthentication {
  readonly #security: Security;
  readonly #hasCertificate: boolean;
  #accepted: string | undefined;
  #acceptedBy: Tokens | undefined;

  /** `hasCertificate`: the client presented a certificate that a trusted authority signed. */
  constructor(security: Security, hasCertificate: boolean) {
    this.#security = security;
    this.#hasCertificate = hasCertificate;
  }

  /** Whether a valid token alone authenticates a request of this connection. */
  get tokenSuffices(): boolean {
    const { tls, tokens } = this.#security;
    return tokens !== undefined && (tls?.mutual !== true || this.#hasCertificate);
  }

  /** Whether a request with this Authorization header is authenticated. */
  accepts(authorization: string | undefined): boolean {
    const { tls, tokens } = this.#security;
    if (tls?.mutual === true && !this.#hasCertificate) return false;
    if (tokens === undefined) return true;
    if (tokens === this.#acceptedBy && authorization === this.#accepted) return true;
    if (!tokens.accepts(authorization)) return false;
    this.#acceptedBy = tokens;
    this.#accepted = authorization;
    return true;
  }
}
