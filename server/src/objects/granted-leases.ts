import type { MemberInfo, ObjectInfo } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";

/** How long a member may answer by a record without asking its home again, milliseconds. */
export const LEASE_MS = 600;

/**
 * How long a client may answer its reads by a record. A client cannot be asked to drop a lease, so a change of the object waits for the
 * end. A member takes longer than this to start, so no lease of an earlier process is valid when it decides.
 */
export const CLIENT_LEASE_MS = 200;

/** The holder of the leases of all clients, which share one per object. */
const CLIENTS: MemberInfo = { name: "", grpcAddress: "" };

/** Leases at a time, about 200 bytes each. When there are more, none are granted: members ask for each read. */
const CAPACITY = 200_000;

export interface GrantedLeasesOptions {
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
  /** Distinguishes the ids of this process from those of an earlier one: a number of at most 20 bits. */
  readonly epoch: number;
  /** Has the holder drop its leases of these objects. Resolves when it has. */
  readonly revoke: (holder: MemberInfo, urls: readonly string[]) => Promise<void>;
}

interface Lease {
  readonly id: number;
  readonly url: string;
  readonly holder: MemberInfo;
  /** Undefined: the absence of the object is leased. */
  readonly info: ObjectInfo | undefined;
  expiresAtMs: number;
}

/** The leases that this member granted as a home. They count from when they are granted: the holder counts from earlier. */
export class GrantedLeases {
  readonly #options: GrantedLeasesOptions;
  /** In about the order in which they expire. */
  readonly #byId = new Map<number, Lease>();
  readonly #byUrl = new Map<string, Map<string, Lease>>();
  /** Objects whose leases are being revoked, by holder: sent together in the next turn of the event loop. */
  readonly #toRevoke = new Map<string, { readonly holder: MemberInfo; readonly urls: Map<string, () => void> }>();
  #lastId: number;

  constructor(options: GrantedLeasesOptions) {
    this.#options = options;
    this.#lastId = options.epoch * 2 ** 32;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Grants a lease of a record, and returns its id. 0: the table is full. */
  grant(url: string, holder: MemberInfo, info: ObjectInfo | undefined, forMs: number): number {
    this.#dropExpired();
    const before = this.#byUrl.get(url)?.get(holder.name);
    if (before !== undefined) this.#drop(before);
    else if (this.#byId.size >= CAPACITY) return 0;
    const id = ++this.#lastId;
    const lease = { id, url, holder, info, expiresAtMs: this.#options.clock.monotonicMs() + forMs };
    this.#byId.set(id, lease);
    let ofObject = this.#byUrl.get(url);
    if (ofObject === undefined) {
      ofObject = new Map();
      this.#byUrl.set(url, ofObject);
    }
    ofObject.set(holder.name, lease);
    return id;
  }

  /** Grants a lease to a client that cannot be asked to drop it. Returns false if the table is full. */
  grantToClient(url: string, info: ObjectInfo, forMs: number): boolean {
    const untilMs = this.#byUrl.get(url)?.get(CLIENTS.name)?.expiresAtMs ?? 0;
    const id = this.grant(url, CLIENTS, info, forMs);
    const lease = this.#byId.get(id);
    // The earlier lease counts until its own end.
    if (lease !== undefined) lease.expiresAtMs = Math.max(lease.expiresAtMs, untilMs);
    return lease !== undefined;
  }

  /** Extends a lease if `isCurrent` says that its record is still the current one. Returns whether it did. */
  renew(id: number, holder: string, isCurrent: (url: string, info: ObjectInfo | undefined) => boolean): boolean {
    const lease = this.#byId.get(id);
    if (lease?.holder.name !== holder || !isCurrent(lease.url, lease.info)) return false;
    lease.expiresAtMs = this.#options.clock.monotonicMs() + LEASE_MS;
    this.#byId.delete(id);
    this.#byId.set(id, lease);
    return true;
  }

  /**
   * Ends all leases of an object. Resolves when every holder has dropped its lease, or the lease has expired. Undefined: there are
   * no leases.
   */
  revoke(url: string): Promise<void> | undefined {
    const leases = this.#byUrl.get(url);
    if (leases === undefined) return undefined;
    const nowMs = this.#options.clock.monotonicMs();
    const ends: Promise<void>[] = [];
    for (const lease of leases.values()) {
      this.#drop(lease);
      if (lease.expiresAtMs > nowMs) ends.push(this.#end(lease, lease.expiresAtMs - nowMs));
    }
    return ends.length === 0 ? undefined : Promise.all(ends).then(() => undefined);
  }

  /** Objects with leases. */
  urls(): string[] {
    return [...this.#byUrl.keys()];
  }

  #end({ url, holder }: Lease, remainingMs: number): Promise<void> {
    return new Promise((resolve) => {
      // Rounded up: the sum of two fractions may be a little less than when the lease ends at its holder.
      const cancel = this.#options.clock.after(Math.ceil(remainingMs), resolve);
      if (holder === CLIENTS) return;
      let batch = this.#toRevoke.get(holder.grpcAddress);
      if (batch === undefined) {
        batch = { holder, urls: new Map() };
        this.#toRevoke.set(holder.grpcAddress, batch);
        setImmediate(() => this.#send(holder.grpcAddress));
      }
      batch.urls.set(url, () => {
        cancel();
        resolve();
      });
    });
  }

  /** If the holder does not confirm, its leases expire. */
  #send(grpcAddress: string): void {
    const { holder, urls } = this.#toRevoke.get(grpcAddress)!;
    this.#toRevoke.delete(grpcAddress);
    this.#options.revoke(holder, [...urls.keys()]).then(
      () => {
        for (const confirmed of urls.values()) confirmed();
      },
      () => {},
    );
  }

  #dropExpired(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const lease of this.#byId.values()) {
      if (lease.expiresAtMs > nowMs) return;
      this.#drop(lease);
    }
  }

  #drop(lease: Lease): void {
    this.#byId.delete(lease.id);
    const ofObject = this.#byUrl.get(lease.url);
    if (ofObject?.get(lease.holder.name) !== lease) return;
    ofObject.delete(lease.holder.name);
    if (ofObject.size === 0) this.#byUrl.delete(lease.url);
  }
}
