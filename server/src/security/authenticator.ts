import type { IncomingHttpHeaders } from "node:http";
import type { Peer } from "./member-authentication.js";
import type { Principal } from "./principal.js";
import type { ChunkSignatures } from "./signatures/signer.js";

/** The parts of a request that may prove who makes it. Node's IncomingMessage has them; a gRPC call has headers only. */
export interface PresentedRequest {
  readonly method?: string | undefined;
  /** The target as sent. */
  readonly url?: string | undefined;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as sent. Absent: no header appears twice. */
  readonly rawHeaders?: readonly string[];
}

/** The fields of a form before its file, by their names in lower case. */
export type FormFields = ReadonlyMap<string, string>;

/** Who makes a request. */
export interface Authenticated {
  readonly principal: Principal;
  /**
   * Until when the Authorization header, or its absence, proves the same principal on the same connection, milliseconds since 1970.
   * Infinity: until the authenticator's revision changes. Undefined: the proof is of this request alone.
   */
  readonly untilMs: number | undefined;
}

/** Authenticates requests by one or several kinds of credentials. */
export interface Authenticator {
  /** Changes whenever the same credentials may be judged differently. */
  readonly revision: number;
  /**
   * Returns who makes a request, at once if that is known without asking another system. Undefined: the request presents no
   * credentials of these kinds, so the next authenticator is asked. Throws, or rejects with, a CacheError: UNAUTHENTICATED if
   * credentials of this kind are invalid, UNAVAILABLE if they cannot be verified now. The error contains no secret.
   */
  authenticate(request: PresentedRequest, peer: Peer): Authenticated | undefined | Promise<Authenticated | undefined>;
  /** The signatures of the chunks of the body of a request whose head was signed. Absent, or undefined: by no key that is known here. */
  chunkSignatures?(request: PresentedRequest): ChunkSignatures | undefined;
  /**
   * Who signed the policy of a form. Absent, or undefined: nobody who is known here. Throws UNAUTHENTICATED if a signature is wrong. What
   * the policy permits is not judged.
   */
  authenticateForm?(fields: FormFields): Authenticated | undefined;
}

/** Asks authenticators one after the other; the first one that knows the kind of the credentials decides. */
export class AuthenticatorChain implements Authenticator {
  readonly #authenticators: readonly Authenticator[];

  constructor(authenticators: readonly Authenticator[]) {
    this.#authenticators = authenticators;
  }

  get revision(): number {
    let revision = 0;
    for (const each of this.#authenticators) revision += each.revision;
    return revision;
  }

  authenticate(request: PresentedRequest, peer: Peer): Authenticated | undefined | Promise<Authenticated | undefined> {
    return this.#from(0, request, peer);
  }

  chunkSignatures(request: PresentedRequest): ChunkSignatures | undefined {
    for (const each of this.#authenticators) {
      const found = each.chunkSignatures?.(request);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  authenticateForm(fields: FormFields): Authenticated | undefined {
    for (const each of this.#authenticators) {
      const found = each.authenticateForm?.(fields);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #from(first: number, request: PresentedRequest, peer: Peer): Authenticated | undefined | Promise<Authenticated | undefined> {
    for (let at = first; at < this.#authenticators.length; at++) {
      const found = this.#authenticators[at]!.authenticate(request, peer);
      if (found instanceof Promise) return found.then((known) => known ?? this.#from(at + 1, request, peer));
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
