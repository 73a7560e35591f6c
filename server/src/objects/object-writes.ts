import { CacheError, type MemberInfo, type ObjectRef } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";
import type { LocalCache } from "../cache/local-cache.js";
import type { Clock } from "../runtime/clock.js";
import type { DecidedRecords } from "./decided-records.js";
import type { HomeChanges } from "./home-changes.js";
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

/** What the member that decides about an object reports to the one that would decide in its place. */
type AnnouncedStage =
  /** The write runs, or its outcome is unknown. */
  | "announced"
  /** The outcome is known: the object may have changed. */
  | "withdrawn";

/** One write of one object. */
export interface ObjectWrite {
  /** Different for all writes of all members. */
  readonly id: string;
  readonly stage: WriteStage | AnnouncedStage;
}

/** How long a write waits for the member to which it is announced, milliseconds. A member that stands still must not delay all writes. */
const ANNOUNCE_MS = 500;
/** Members that may decide next: if the first one is unreachable, the second one decides. */
const NEXT_RANKS = [0, 1, 2];

export interface ObjectWritesOptions {
  readonly self: MemberInfo;
  readonly changes: Pick<HomeChanges, "current">;
  readonly clock: Pick<Clock, "after">;
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
 *
 * A write is known to two members, so that one of them may be lost while the origin may yet take the write: to the one that runs it and the
 * one that decides. If that is the same member, or the outcome is unknown, the one that would decide next is the second.
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
    const { id, stage } = write;
    if (stage === "announced") return decided.writing.begun(url, id);
    // This member may have decided in place of the home meanwhile, and remember what was there before the write.
    if (stage === "withdrawn") return this.#apply(url, { id, stage: "written" });
    await lookup.atDecider(url, hops, signal, {
      here: async () => {
        this.#apply(url, write);
        await Promise.all([
          untilAborted(decided.changing(url) ?? Promise.resolve(), signal),
          this.#announce(url, write, hops, undefined),
        ]);
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
      inPlaceOf: async (decider) => {
        await Promise.all([substitution.leasesEnd(decider), this.#announce(url, write, hops, decider)]);
      },
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

  /**
   * Reports a write to the member that would decide next, if no other member knows of it. Resolves when that member knows, or does not
   * answer. `gone`: the member in whose place this one decides. Never rejects.
   */
  async #announce(url: string, { id, stage }: ObjectWrite, hops: number, gone: MemberInfo | undefined): Promise<void> {
    if (hops > 0 && stage !== "unknown") return;
    const { self, changes, lookup, clock } = this.#options;
    const owners = NEXT_RANKS.flatMap((rank) => changes.current.owner(url, 0, rank) ?? []);
    const next = owners.filter(({ name }) => name !== self.name && name !== gone?.name);
    if (next.length === 0) return;
    const isOver = stage === "written" || stage === "refused";
    const announced: ObjectWrite = { id, stage: isOver ? "withdrawn" : "announced" };
    const asking = lookup.ask(next, url, { write: announced }, 0).then(
      () => {},
      () => {},
    );
    // If this is lost, reads at that member would ask the origin more often than they must.
    if (isOver) return;
    let cancel = (): void => {};
    const late = new Promise<void>((resolve) => {
      cancel = clock.after(ANNOUNCE_MS, resolve);
    });
    await Promise.race([asking, late]).finally(() => cancel());
  }

  /** Reads the record, for the next read. While another write of the object runs, each read asks. */
  #refresh(ref: ObjectRef): void {
    const { decided, signal } = this.#options;
    if (!decided.writing.has(ref.url)) decided.current(ref, signal).catch(() => {}); // the next read asks, and gets the error
  }
}
