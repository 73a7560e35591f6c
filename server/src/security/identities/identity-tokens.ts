import { createHash } from "node:crypto";
import type { Authenticated, Authenticator, PresentedRequest } from "../authenticator.js";
import { presentedToken } from "../tokens/presented-token.js";
import type { Identities } from "./identities-file.js";

/** A file of identities that is followed. */
export interface IdentitiesFile {
  readonly current: Identities;
  /** Grows with every change that is in use. */
  readonly revision: number;
}

/**
 * Authenticates requests by bearer tokens whose digests the identities file contains. Who finds a digest by its time would still have to
 * find a token with this digest.
 */
export class IdentityTokenAuthenticator implements Authenticator {
  readonly #file: IdentitiesFile;

  constructor(file: IdentitiesFile) {
    this.#file = file;
  }

  get revision(): number {
    return this.#file.revision;
  }

  authenticate(request: PresentedRequest): Authenticated | undefined {
    const { tokens } = this.#file.current;
    if (tokens.size === 0) return undefined;
    const token = presentedToken(request);
    return token === undefined ? undefined : tokens.get(createHash("sha256").update(token).digest("hex"));
  }
}
