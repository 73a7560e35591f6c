import type { ReadRangeRequest } from "@frontcache/proto";
import type { ObjectRead, ReadRequest } from "@frontcache/server/testing";

/** Closed reads remembered. */
const REMEMBERED = 50;

/** Watches one member that no read that a member sent it is sent on. */
export class HopWatch {
  readonly broken: string[] = [];
  /** Reads of users, which may be sent on. */
  readonly #own = new Set<ReadRequest>();
  /** The last of those that are closed: what they had looked ahead for may still go out. */
  #closed: ReadRequest[] = [];

  /** Reads of users that are open. */
  get open(): number {
    return this.#own.size;
  }

  /** Opens a read, and watches it until it is closed. */
  watch(request: ReadRequest, open: () => ObjectRead | Promise<ObjectRead>): ObjectRead | Promise<ObjectRead> {
    if (request.forwarded) return open();
    this.#own.add(request);
    try {
      const opened = open();
      return opened instanceof Promise ? this.#watchOpening(request, opened) : this.#watchRead(request, opened);
    } catch (error) {
      this.#forget(request);
      throw error;
    }
  }

  /** The member sends a read to another one. */
  sent({ key, offset, length, forwarded, cachedOnly }: ReadRangeRequest): void {
    if (!forwarded) this.broken.push(`a read of ${key} was sent on as if it came from a user`);
    if (cachedOnly) return;
    const asked = [...this.#own, ...this.#closed].some((read) => {
      const end = read.length === 0 ? Number.POSITIVE_INFINITY : read.offset + read.length;
      return read.ref.url === key && read.offset <= offset && (length === 0 || offset < end);
    });
    if (!asked) this.broken.push(`a read of ${key} at ${offset} was sent on that no user had asked for here`);
  }

  async #watchOpening(request: ReadRequest, opening: Promise<ObjectRead>): Promise<ObjectRead> {
    try {
      return this.#watchRead(request, await opening);
    } catch (error) {
      this.#forget(request);
      throw error;
    }
  }

  #watchRead(request: ReadRequest, read: ObjectRead): ObjectRead {
    return {
      info: read.info,
      offset: read.offset,
      length: read.length,
      result: read.result,
      next: () => read.next(),
      close: () => {
        this.#forget(request);
        read.close();
      },
    };
  }

  #forget(request: ReadRequest): void {
    if (this.#own.delete(request)) this.#closed = [request, ...this.#closed].slice(0, REMEMBERED);
  }
}
