import type { ObjectRef } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";

/** An object as a listing of the origin names it. */
export interface ListedVersion {
  readonly ref: ObjectRef;
  readonly version: string;
}

export interface ListedVersionsOptions {
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
  /** Whether this member decides about the object, and remembers this version, or nothing at all. */
  isKnown(url: string, version: string): boolean;
  /** Has the object's home ask the origin if it knows another version. Resolves when it has. */
  report(listed: ListedVersion): Promise<void>;
}

/** Versions reported at a time. Each one may cause a request to the origin. */
const CONCURRENT = 128;
/** How long the listing waits for the reports. A client that reads what it has listed gets the versions in the list then. */
const WAIT_MS = 1_000;
/**
 * A version is not reported again for so long. Stores exist whose listings name other ETags than their objects have: each page would
 * cause a request per object.
 */
const AGAIN_AFTER_MS = 10_000;
/** Reports to remember, about 200 bytes each. */
const REMEMBERED = 100_000;

/**
 * Versions that listings of the origin name. A listing may be newer than the cache: tools such as `aws s3 sync` list, and then read what
 * differs from their copy. Reports of a page: at most one per object, CONCURRENT at a time.
 */
export class ListedVersions {
  readonly #options: ListedVersionsOptions;
  readonly #reported = new BoundedMap<string, { readonly version: string; readonly atMs: number }>(REMEMBERED);

  constructor(options: ListedVersionsOptions) {
    this.#options = options;
  }

  /** Resolves when the versions of a page are reported, or after WAIT_MS; the reports continue then. Never rejects. */
  async observe(page: Iterable<ListedVersion>): Promise<void> {
    const news: ListedVersion[] = [];
    for (const listed of page) if (this.#isNews(listed)) news.push(listed);
    if (news.length === 0) return;
    let cancel = (): void => {};
    const timeout = new Promise<void>((resolve) => {
      cancel = this.#options.clock.after(WAIT_MS, resolve);
    });
    await Promise.race([this.#report(news), timeout]);
    cancel();
  }

  #isNews({ ref: { url }, version }: ListedVersion): boolean {
    const { clock, isKnown } = this.#options;
    const reported = this.#reported.peek(url);
    const isRecent = reported?.version === version && clock.monotonicMs() - reported.atMs < AGAIN_AFTER_MS;
    return !isRecent && !isKnown(url, version);
  }

  /** In groups: the reports of one turn of the event loop to one member are one call. */
  async #report(news: readonly ListedVersion[]): Promise<void> {
    const { clock, report } = this.#options;
    for (let start = 0; start < news.length; start += CONCURRENT) {
      const group = news.slice(start, start + CONCURRENT);
      const atMs = clock.monotonicMs();
      for (const { ref, version } of group) this.#reported.set(ref.url, { version, atMs });
      await Promise.all(group.map((listed) => report(listed).catch(() => {}))); // the home answers by its own record then
    }
  }
}
