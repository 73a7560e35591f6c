import { CacheError, type ObjectRef } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { LocalCache } from "../cache/local-cache.js";
import type { DecidedRecords } from "./decided-records.js";
import type { RecordLookup } from "./record-lookup.js";
import type { Substitution } from "./substitution.js";

/** What is known of a write. */
export type WriteStage =
  /** The origin may take it from now on. */
  | "begun"
  /** The origin has taken it. */
  | "written"
  /** The origin has not taken it, and will not. */
  | "refused"
  /** The origin may have taken it, or may yet take it. */
  | "unknown";

/** One write of one object. */
export interface ObjectWrite {
  /** Different for all writes of all members. */
  readonly id: string;
  readonly stage: WriteStage;
}

export interface ObjectWritesOptions {
  readonly lookup: RecordLookup;
  readonly decided: DecidedRecords;
  readonly substitution: Substitution;
  readonly records: LocalCache["records"];
  /** Forgets what other members have said about the object. */
  readonly forget: (url: string) => void;
  /** Aborted when the member closes. */
  readonly signal: AbortSignal;
}

/**
 * Writes of objects, as the member that decides about an object must know of them:
 * 1. `begun`, before the origin can have taken the write: all leases end, no new ones are granted, and each read without a version asks
 *    the origin.
 * 2. The origin takes the write.
 * 3. `written`: what was observed before counts for nothing. The object's record is read again. Then the client gets its answer.
 * A read that starts after the answer gets the new version: in 3, no member has an older one that it may hand out.
 */
export class ObjectWrites {
  readonly #options: ObjectWritesOptions;

  constructor(options: ObjectWritesOptions) {
    this.#options = options;
  }

  /** Resolves when the member that decides knows, and no lease is left. `hops`: how many members passed the report on. */
  async report(ref: ObjectRef, write: ObjectWrite, hops: number, signal: AbortSignal): Promise<void> {
    const { url } = ref;
    const { lookup, decided, substitution } = this.#options;
    await lookup.atDecider(url, hops, signal, {
      here: async () => {
        this.#apply(url, write);
        await untilAborted(decided.changing(url) ?? Promise.resolve(), signal);
        if (write.stage === "written") this.#refresh(ref);
      },
      elsewhere: (members, asked) => {
        // This member may become the one that decides.
        this.#apply(url, write);
        return lookup.ask(members, url, { write }, asked);
      },
      answered: ({ answer: { errorCode, error } }) => {
        if (errorCode !== "") throw new CacheError(errorCode as CacheError["code"], error);
      },
      inPlaceOf: (decider) => substitution.leasesEnd(decider),
      undecided: () => substitution.leasesEnd(undefined),
    });
  }

  #apply(url: string, { id, stage }: ObjectWrite): void {
    const { decided, records, forget } = this.#options;
    const { writing } = decided;
    if (stage === "refused") {
      writing.ended(url, id);
      return;
    }
    if (stage === "written") writing.ended(url, id);
    else writing.begun(url, id);
    if (stage !== "begun") records.replaced(url);
    decided.changed(url);
    forget(url);
  }

  /** Reads the record, for the next read. While another write of the object runs, each read asks. */
  #refresh(ref: ObjectRef): void {
    const { decided, signal } = this.#options;
    if (!decided.writing.has(ref.url)) decided.current(ref, signal).catch(() => {}); // the next read asks, and gets the error
  }
}
