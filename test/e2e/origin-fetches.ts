import type { S3Emulator } from "../emulators/s3.js";

/** An origin GET and the member that sent it. */
export interface Fetch {
  readonly member: string;
  /** `key:offset`. */
  readonly block: string;
}

/**
 * Unnecessary GETs that a busy machine may cause: if a member does not answer in time, the others fetch from
 * the origin. An idle machine causes none. Without fills from members, every moved block would need one: 80 and more.
 */
export const MAX_STRAYS = 20;

/** Records origin GETs by member: each member signs its requests with its own name. */
export class OriginFetches {
  #fetches: Fetch[] = [];

  constructor(origin: S3Emulator, blockBytes: number) {
    // A fault that only records requests.
    origin.faults.place({
      when: ({ method, headers, key }) => {
        const member = /Credential=([^/]+)\//.exec(headers.authorization ?? "")?.[1];
        const start = Number(/^bytes=(\d+)-/.exec(headers.range ?? "")?.[1]);
        // Requests without a key are listings.
        if (method === "GET" && key !== "")
          this.#fetches.push({ member: member ?? "?", block: `${key}:${start - (start % blockBytes)}` });
        return false;
      },
    });
  }

  /** GETs since the start or the last `forget`. */
  get all(): readonly Fetch[] {
    return this.#fetches;
  }

  forget(): void {
    this.#fetches = [];
  }
}
