import type { ManualClock } from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";
import { Connection, type End, type Host } from "./simulated-connection.js";

/** How the network is at the moment, everywhere. */
export interface Weather {
  /** Every message takes up to so long, milliseconds. */
  readonly delayMs: number;
  /** Chance of every message to break its connection. */
  readonly breaks: number;
  /** Chance of every request to arrive twice. */
  readonly duplicates: number;
}

export const fairWeather: Weather = { delayMs: 0, breaks: 0, duplicates: 0 };

/** The address of the Service before all members: a connection to it goes to one that listens. */
export const SERVICE = "frontcache:8080";

/** How long a caller takes to notice that a member's machine is gone where nothing else tells: as gRPC's keepalive does. */
const KEPT_ALIVE_MS = 25_000;
/** How long a member takes to notice that a caller's machine is gone, milliseconds. */
const NOTICED_GONE_MS = 5_000;
/** The network between simulated processes: connections and the calls on them, with everything that can happen to them. */
export class SimulatedNetwork {
  readonly time: ManualClock;
  readonly chance: Chance;

  weather: Weather = fairWeather;
  readonly #hosts = new Map<string, Host>();
  readonly #connections = new Set<Connection>();
  /** Names of those who are cut off, and pairs of names between which nothing gets through. */
  readonly #cuts = new Set<string>();
  /** How much longer messages from one process to another take, milliseconds, by "from>to". */
  readonly #slowLinks = new Map<string, number>();
  /** What waits for the network to heal. */
  #held: (() => void)[] = [];

  constructor(time: ManualClock, chance: Chance) {
    this.time = time;
    this.chance = chance;
  }

  /** Calls that are not over at both ends: those to watch members are while their clients live. */
  get openCalls(): number {
    return [...this.#connections].reduce((sum, { calls }) => sum + calls, 0);
  }

  /** A process listens at an address; one that listened there before is known to be gone from now on. */
  listen(address: string, host: Omit<Host, "state">): void {
    const before = this.#hosts.get(address);
    this.#hosts.set(address, { ...host, state: "listening" });
    if (before !== undefined) this.#breakAll(({ host }) => host === before);
  }

  /** Takes no new calls any more; running ones continue. */
  leave(address: string): void {
    const host = this.#hosts.get(address);
    if (host !== undefined) host.state = "leaving";
  }

  /** A process is gone: its connections are closed, or nothing is ever heard of it again, as of a machine without power. */
  remove(name: string, address: string, silently: boolean): void {
    const host = this.#hosts.get(address);
    if (host?.name === name) host.state = "gone";
    for (const connection of [...this.#connections]) {
      if (connection.caller.name === name) connection.forsake(silently ? NOTICED_GONE_MS : 0);
    }
    if (host === undefined) return;
    const breakAll = (): void => this.#breakAll((connection) => connection.host === host);
    if (silently) {
      this.time.after(KEPT_ALIVE_MS, breakAll);
      return;
    }
    this.#hosts.delete(address);
    breakAll();
  }

  /** From now on nothing gets through to a process, or between two of them; what is sent meanwhile arrives when it heals. */
  cut(name: string, other?: string): void {
    this.#cuts.add(other === undefined ? name : pair(name, other));
  }

  /** From now on messages from one process to another take longer. */
  slowDown(from: string, to: string, delayMs: number): void {
    this.#slowLinks.set(`${from}>${to}`, delayMs);
  }

  /** Ends what `slowDown` began. */
  speedUp(from: string, to: string): void {
    this.#slowLinks.delete(`${from}>${to}`);
  }

  /** How much longer a message takes from one process to another. */
  linkDelayMs(from: string, to: string): number {
    return this.#slowLinks.size === 0 ? 0 : (this.#slowLinks.get(`${from}>${to}`) ?? 0);
  }

  heal(): void {
    this.#cuts.clear();
    this.weather = fairWeather;
    for (const go of this.#held.splice(0)) go();
  }

  passes(from: string, to: string): boolean {
    return this.#cuts.size === 0 || !(this.#cuts.has(from) || this.#cuts.has(to) || this.#cuts.has(pair(from, to)));
  }

  whenHealed(go: () => void): void {
    this.#held.push(go);
  }

  /** Resolves with a connection; rejects when it is refused, or does not stand in time. */
  connect(caller: End, address: string, timeoutMs: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      let late = false;
      // A connection stands when the member's process has answered, and a caller hears of it when it runs itself.
      const settle = (settled: () => void): void => (caller.process === undefined ? settled() : caller.process.deliver(settled));
      const cancelTimeout = this.time.after(timeoutMs, () => {
        late = true;
        settle(() => reject(new Error("no connection in time")));
      });
      const arrive = (): void => {
        const host = this.#hostAt(address);
        if (late || host?.state === "gone") return;
        if (host !== undefined && !this.passes(caller.name, host.name)) {
          this.whenHealed(arrive);
          return;
        }
        const answer = (): void => {
          if (late) return;
          cancelTimeout();
          const connection = host?.state === "listening" ? this.#connection(caller, host) : undefined;
          settle(() => (connection === undefined ? reject(new Error("refused")) : resolve(connection)));
        };
        if (host?.process === undefined) answer();
        else host.process.deliver(answer);
      };
      this.later(arrive);
    });
  }

  /** Does something after the time that a message takes; `linkMs` is what a slow link adds. */
  later(arrive: () => void, linkMs = 0): void {
    const { delayMs } = this.weather;
    const inMs = linkMs + (delayMs === 0 ? 0 : 1 + this.chance.below(delayMs));
    if (inMs === 0) queueMicrotask(arrive);
    else this.time.after(inMs, arrive);
  }

  #connection(caller: End, host: Host): Connection {
    const connection = new Connection(this, caller, host, () => this.#connections.delete(connection));
    this.#connections.add(connection);
    return connection;
  }

  #hostAt(address: string): Host | undefined {
    if (address !== SERVICE) return this.#hosts.get(address);
    const listening = [...this.#hosts.values()].filter(({ state }) => state === "listening");
    return listening.length === 0 ? undefined : this.chance.pick(listening);
  }

  #breakAll(which: (connection: Connection) => boolean): void {
    for (const connection of [...this.#connections]) if (which(connection)) connection.break("the connection was reset");
  }
}

function pair(one: string, other: string): string {
  return one < other ? `${one}|${other}` : `${other}|${one}`;
}
