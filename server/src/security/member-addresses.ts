import { lookup } from "node:dns/promises";
import { isIP, SocketAddress } from "node:net";
import type { Clock } from "../runtime/clock.js";

/** How often the member list and the addresses of its host names are read again. */
const REFRESH_MS = 5_000;

/** All IP addresses of a host name, as a port. Rejects if the name can't be resolved. */
export type Resolve = (hostName: string) => Promise<readonly string[]>;

const bySystem: Resolve = async (hostName) => (await lookup(hostName, { all: true })).map(({ address }) => address);

/** The IP addresses of the other members, by the member list. Host names in the list are resolved again and again. */
export class MemberAddresses {
  readonly #clock: Clock;
  readonly #resolve: Resolve;
  #hosts: () => readonly string[] = () => [];
  #addresses: ReadonlySet<string> = new Set();
  /** The last addresses of each host name. A name that can't be resolved now keeps them. */
  readonly #resolved = new Map<string, readonly string[]>();
  #revision = 0;
  #resolving: Promise<void> | undefined;
  #cancelTimer: () => void = () => {};
  #isClosed = false;

  constructor(clock: Clock, resolve: Resolve = bySystem) {
    this.#clock = clock;
    this.#resolve = resolve;
  }

  /** Grows with every change of the addresses. */
  get revision(): number {
    return this.#revision;
  }

  /** `hosts`: addresses and host names of the other members, now. */
  follow(hosts: () => readonly string[]): void {
    this.#hosts = hosts;
    this.refresh();
  }

  /** Takes over a changed member list: its IP addresses at once, its host names when they are resolved. */
  refresh(): void {
    this.#cancelTimer();
    if (this.#isClosed) return;
    this.#cancelTimer = this.#clock.after(REFRESH_MS, () => this.refresh());
    this.#update();
    // One name at a time: a DNS server that does not answer occupies one thread of the pool, which disks use as well.
    this.#resolving ??= this.#resolveAll().finally(() => {
      this.#resolving = undefined;
    });
  }

  /** Whether an IP address is another member's. */
  has(address: string): boolean {
    return this.#addresses.has(canonical(address));
  }

  /** Stops; resolves when the last name is resolved. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer();
    await this.#resolving;
  }

  async #resolveAll(): Promise<void> {
    const names = new Set(this.#hosts().filter((host) => isIP(host) === 0));
    for (const name of this.#resolved.keys()) if (!names.has(name)) this.#resolved.delete(name);
    for (const name of names) {
      if (this.#isClosed) return;
      const found = await this.#resolve(name).catch(() => undefined);
      if (found !== undefined) this.#resolved.set(name, found);
      this.#update();
    }
  }

  #update(): void {
    const found = this.#hosts().flatMap((host) => (isIP(host) === 0 ? (this.#resolved.get(host) ?? []) : [host]));
    const addresses = new Set(found.map(canonical));
    if (addresses.size === this.#addresses.size && [...addresses].every((address) => this.#addresses.has(address))) return;
    this.#addresses = addresses;
    this.#revision++;
  }
}

/**
 * One text for each IP address: zeros compressed, without a zone, IPv4 if it is mapped into IPv6. All loopback addresses are one:
 * the kernel connects from 127.0.0.1 to 127.0.0.2.
 */
function canonical(address: string): string {
  const plain = isIP(address) === 6 ? new SocketAddress({ address, family: "ipv6" }).address : address;
  const text = plain.replace(/^::ffff:(?=[\d.]+$)/, "");
  return text === "::1" || text.startsWith("127.") ? "loopback" : text;
}
