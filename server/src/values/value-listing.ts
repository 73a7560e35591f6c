import { isRefused } from "@frontcache/client/members";
import { CacheError, type ValueAnswer, type ValueEntry } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { compareBytes } from "./value-entries.js";
import { infoOf, isLive } from "./value-entry.js";
import type { Placement, ValueMembers } from "./value-members.js";
import type { ValueService } from "./value-service.js";
import type { ListRequest, ValueInfo, ValueList } from "./values.js";

/** Entries of one member's page. */
const PAGE_ENTRIES = 200;

export interface ListedMembers {
  readonly members: ValueMembers;
  readonly placement: Placement;
  readonly service: ValueService;
  readonly clock: Clock;
}

/**
 * Lists values of all members that can be reached, in pages of each, and merges them. Rejects with UNAVAILABLE if so many members do not
 * answer that they may have all copies of a value.
 */
export async function listValues(
  { bucket, prefix, after: first, limit, signal }: ListRequest,
  { members, placement, service, clock }: ListedMembers,
): Promise<ValueList> {
  const root = `cache://${bucket}/`;
  const values: ValueInfo[] = [];
  for (let after = first; ; ) {
    const list = { bucket, prefix, after, limit: PAGE_ENTRIES };
    const failures: unknown[] = [];
    const asked = members.members.map((member) =>
      service.ask(member, { list }, signal).catch((error: unknown) => {
        failures.push(error);
        return undefined;
      }),
    );
    const { entries, until } = merged(await Promise.all(asked));
    signal.throwIfAborted();
    const stopped = failures.filter(isRefused).length;
    if (!placement.isAbsenceCertain(failures.length - stopped, stopped)) {
      throw new CacheError("UNAVAILABLE", `${root}: members that may have further values do not answer`, { cause: failures[0] });
    }
    for (const entry of entries) {
      if (!isLive(entry, clock.nowMs())) continue;
      if (values.length === limit) return { values, isTruncated: true };
      values.push(infoOf(entry));
    }
    if (until === undefined) return { values, isTruncated: false };
    after = until.slice(root.length);
  }
}

/** The newest entry of each URL in the order of their bytes, up to where all pages reach. Undefined `until`: all pages are the last ones. */
function merged(pages: readonly (ValueAnswer | undefined)[]): {
  readonly entries: readonly ValueEntry[];
  readonly until: string | undefined;
} {
  const newest = new Map<string, ValueEntry>();
  let until: string | undefined;
  for (const page of pages) {
    for (const entry of page?.entries ?? []) {
      const other = newest.get(entry.url);
      if (other === undefined || other.version < entry.version) newest.set(entry.url, entry);
    }
    // Behind the last value of a page that is cut, that member may have more.
    const last = page?.ended === false ? page.entries.at(-1)?.url : undefined;
    if (last !== undefined && (until === undefined || compareBytes(last, until) < 0)) until = last;
  }
  const urls = [...newest.keys()].filter((url) => until === undefined || compareBytes(url, until) <= 0).sort(compareBytes);
  return { entries: urls.map((url) => newest.get(url)!), until };
}
