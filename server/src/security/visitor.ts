import type { Door } from "./doors.js";
import type { Tokens } from "./tokens.js";

/**
 * One connection before the door. What it showed last and was let in by is remembered, so that all further requests cost a
 * comparison with what it sent itself; tokens that were exchanged are asked for anew.
 */
export class Visitor {
  #shown: string | undefined;
  #by: Tokens | undefined;

  /** `certified`: it showed a certificate that a trusted authority signed. */
  constructor(
    private readonly door: Door,
    private readonly certified: boolean,
  ) {}

  /** Whether a known token is all that it takes to be let in. */
  get tokenOpens(): boolean {
    const { tls, tokens } = this.door;
    return tokens !== undefined && (tls?.mutual !== true || this.certified);
  }

  /** Whether a request with this Authorization header is answered. */
  admits(authorization: string | undefined): boolean {
    const { tls, tokens } = this.door;
    if (tls?.mutual === true && !this.certified) return false;
    if (tokens === undefined) return true;
    if (tokens === this.#by && authorization === this.#shown) return true;
    if (!tokens.admits(authorization)) return false;
    this.#by = tokens;
    this.#shown = authorization;
    return true;
  }
}
