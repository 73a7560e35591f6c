import { BoundedMap } from "@frontcache/proto/runtime";

/** Objects whose last caller is remembered. */
const MAX_OBJECTS = 100_000;

/**
 * The principal with origin credentials of its own that the origin allowed last to read each object. What the cache itself asks about
 * the object is signed with these credentials: the members' own may not suffice.
 */
export class RecentCallers {
  readonly #byUrl = new BoundedMap<string, string>(MAX_OBJECTS);

  /** The name of the principal. Undefined: nobody with credentials of its own has read the object lately. */
  of(url: string): string | undefined {
    return this.#byUrl.size === 0 ? undefined : this.#byUrl.get(url);
  }

  /** The origin allows the principal to read the object, as this member or another one has learned. */
  allowed(url: string, principal: string): void {
    if (this.#byUrl.get(url) !== principal) this.#byUrl.set(url, principal);
  }

  /** The origin denied the principal the object. */
  denied(url: string, principal: string): void {
    if (this.#byUrl.peek(url) === principal) this.#byUrl.delete(url);
  }
}
