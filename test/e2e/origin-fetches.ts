import type { S3Emulator } from "../emulators/s3.js";

/** A GET of the origin, and the member that sent it. */
export interface Fetch {
  readonly member: string;
  /** `key:offset`. */
  readonly block: string;
}

/**
 * GETs that a loaded machine may cost where none is needed: a member that is kept from answering in time is passed over for
 * the origin. A quiet machine costs none; without fills from members it would be every block that moved, 80 and more.
 */
export const MAX_STRAYS = 20;

/** The GETs that an origin sees, by the members that send them: each signs its requests with its own name. */
export class OriginFetches {
  #fetches: Fetch[] = [];

  constructor(origin: S3Emulator, blockBytes: number) {
    // Strikes nothing, only looks.
    origin.faults.place({
      when: ({ method, headers, key }) => {
        const member = /Credential=([^/]+)\//.exec(headers.authorization ?? "")?.[1];
        const start = Number(/^bytes=(\d+)-/.exec(headers.range ?? "")?.[1]);
        // Without a key it is a listing.
        if (method === "GET" && key !== "")
          this.#fetches.push({ member: member ?? "?", block: `${key}:${start - (start % blockBytes)}` });
        return false;
      },
    });
  }

  /** Since the start or the last `forget`. */
  get all(): readonly Fetch[] {
    return this.#fetches;
  }

  forget(): void {
    this.#fetches = [];
  }
}
