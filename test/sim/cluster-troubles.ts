import { type ManualClock, type MemoryFaultRule, MemoryFaults } from "@frontcache/server/testing";
import { Division } from "./division.js";
import type { Place } from "./place.js";
import type { SimulatedNetwork, Weather } from "./simulated-network.js";
import { nearOrigin, type OriginDistance } from "./simulated-origin.js";
import { Trouble } from "./trouble.js";

/** How long a fault of the origin may be felt after its end: the attempts and time-outs of one request. */
const ORIGIN_FELT_MS = 1_500;
/** How long the loss of a member may be felt after its return. */
const LOSS_FELT_MS = 2_000;
/** How long after its end, and the age of a record, a partition may be felt: members find each other again. */
export const PARTITION_FELT_MS = 2_000;

export interface ClusterTroublesOptions {
  readonly time: ManualClock;
  readonly network: SimulatedNetwork;
  /** Of all members, whether they run or not. */
  readonly names: readonly string[];
  readonly revalidateAfterMs: number;
}

/** What goes wrong around the members of a cluster, at the origin and in the network, and as long as anybody may feel it. */
export class ClusterTroubles {
  readonly #options: ClusterTroublesOptions;
  readonly originFaults = new MemoryFaults();
  readonly originTrouble = new Trouble(ORIGIN_FELT_MS);
  readonly losses = new Trouble(LOSS_FELT_MS);
  readonly partitions: Trouble;
  /** All that may have members do some work twice. */
  readonly disturbances = new Trouble(LOSS_FELT_MS);
  originDistance = nearOrigin;
  /** Undefined: the network is in one piece. */
  division: Division | undefined;
  /** Ways to take trouble away before its time. */
  readonly #ends = new Set<() => void>();

  constructor(options: ClusterTroublesOptions) {
    this.#options = options;
    this.partitions = new Trouble(options.revalidateAfterMs + PARTITION_FELT_MS);
  }

  /** Takes all trouble away. */
  calm(): void {
    for (const end of [...this.#ends]) end();
    this.#ends.clear();
    this.#begin("everything", this.disturbances)();
    this.originFaults.clear();
  }

  /** From now on no read feels what was before. */
  forget(): void {
    const nowMs = this.#options.time.monotonicMs();
    for (const trouble of [this.originTrouble, this.losses, this.partitions, this.disturbances]) trouble.forgetBefore(nowMs);
  }

  /** Nothing gets through to a member, or between two of them. */
  cut(place: Place, other: Place | undefined, forMs: number): void {
    const end = this.lost(place.name, this.partitions);
    this.#options.network.cut(place.name, other?.name);
    this.untilCalm(forMs, () => {
      this.#options.network.heal();
      end();
    });
  }

  /**
   * Members reach only those on their side for a while: those whose bits differ are on different ones. Not as long as an earlier division
   * is felt: what the sides have received differs until then.
   */
  divide(bits: number, received: ReadonlyMap<string, number>, forMs: number): void {
    const nowMs = this.#options.time.monotonicMs();
    if (this.partitions.during(nowMs, nowMs)) return;
    const sides = new Map(this.#options.names.map((name, index) => [name, (bits >> index) & 1]));
    const ends = [...sides.keys()].map((name) => this.lost(name, this.partitions));
    for (const [one, side] of sides)
      for (const [other, otherSide] of sides) if (side < otherSide) this.#options.network.cut(one, other);
    const division = new Division(sides, received);
    this.division = division;
    this.untilCalm(forMs, () => {
      division.isOver = true;
      this.division = undefined;
      this.#options.network.heal();
      for (const end of ends) end();
    });
  }

  weather(weather: Weather, forMs: number): void {
    // Where connections break everywhere, anybody may lose more than one member.
    const lost = weather.breaks > 0 ? ["one", "other"] : [];
    const ends = lost.map((whom) => this.lost(whom, this.partitions));
    if (weather.duplicates > 0) ends.push(this.#begin("network", this.disturbances));
    this.#options.network.weather = weather;
    this.untilCalm(forMs, () => {
      this.#options.network.heal();
      for (const end of ends) end();
    });
  }

  originFault(rule: MemoryFaultRule, isTrouble: boolean, forMs: number): void {
    const remove = this.originFaults.place(rule);
    const end = isTrouble ? this.#begin("origin", this.originTrouble, this.disturbances) : undefined;
    this.untilCalm(forMs, () => {
      remove();
      end?.();
    });
  }

  /** Requests to the origin and its answers take their time for a while. */
  distance(distance: OriginDistance, forMs: number): void {
    this.originDistance = distance;
    this.untilCalm(forMs, () => {
      this.originDistance = nearOrigin;
    });
  }

  /** Messages from one member to another one take longer for a while. */
  slowLink(from: Place, to: Place, delayMs: number, forMs: number): void {
    if (from === to) return;
    this.#options.network.slowDown(from.name, to.name, delayMs);
    // A read may do some work twice if another one that it would have joined is late.
    const end = this.#begin("network", this.disturbances);
    this.untilCalm(forMs, () => {
      this.#options.network.speedUp(from.name, to.name);
      end();
    });
  }

  /** Does something after a while, unless all trouble is taken away before. */
  schedule(ms: number, act: () => void): void {
    const cancel = this.#options.time.after(ms, () => {
      this.#ends.delete(cancel);
      act();
    });
    this.#ends.add(cancel);
  }

  /** A member is lost, by itself or for others. Returns what ends that. */
  lost(name: string, ...alsoTrouble: readonly Trouble[]): () => void {
    return this.#begin(name, this.losses, this.disturbances, ...alsoTrouble);
  }

  #begin(whom: string, ...troubles: readonly Trouble[]): () => void {
    const ends = troubles.map((trouble) => trouble.begin(whom, this.#options.time.monotonicMs()));
    return () => {
      for (const end of ends) end(this.#options.time.monotonicMs());
    };
  }

  /** Does something after a while, or as soon as all trouble is taken away. */
  untilCalm(ms: number, end: () => void): void {
    const cancel = this.#options.time.after(ms, () => now());
    const now = (): void => {
      cancel();
      if (this.#ends.delete(now)) end();
    };
    this.#ends.add(now);
  }
}
