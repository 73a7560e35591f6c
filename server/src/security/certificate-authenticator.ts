import type { Authenticated, Authenticator, PresentedRequest } from "./authenticator.js";
import { namesIn } from "./certificate-names.js";
import type { IdentitiesFile } from "./identities/identity-tokens.js";
import type { Peer } from "./member-authentication.js";
import { clientPrincipal } from "./principal.js";
import { mayBePresigned } from "./signatures/presigned.js";

/**
 * Authenticates clients by their certificates: as the identity of the identities file that has one of the certificate's names, otherwise
 * by the first name itself, with the organizations of the subject as groups. A request with other credentials is left to others.
 */
export class CertificateAuthenticator implements Authenticator {
  readonly #file: IdentitiesFile;

  constructor(file: IdentitiesFile) {
    this.#file = file;
  }

  get revision(): number {
    return this.#file.revision;
  }

  authenticate({ headers, url = "" }: PresentedRequest, { certificate }: Pick<Peer, "certificate">): Authenticated | undefined {
    if (certificate === undefined || headers.authorization !== undefined || mayBePresigned(url)) return undefined;
    const { names, groups } = namesIn(certificate);
    const untilMs = Date.parse(certificate.validTo);
    for (const name of names) {
      const identity = this.#file.current.certificates.get(name);
      if (identity !== undefined) return { principal: identity.principal, untilMs };
    }
    const [first] = names;
    return first === undefined ? undefined : { principal: clientPrincipal(first, "certificate", groups), untilMs };
  }
}
