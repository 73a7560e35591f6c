import { ManualClock, type MemoryFaultRule, MemoryFaults, MemoryObjects } from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";
import { Division } from "./division.js";
import { HEARD_WITHIN_MS, MemberLists } from "./member-lists.js";
import { newPlace, type Place } from "./place.js";
import type { HeldLease } from "./read-model.js";
import { type BrokenRules, MemberProcess } from "./simulated-member.js";
import { SimulatedNetwork, type Weather } from "./simulated-network.js";
import { nearOrigin, type OriginDistance } from "./simulated-origin.js";
import { type Ages, chooseSettings } from "./simulated-parts.js";
import { ProcessClock } from "./simulated-time.js";
import { Trouble } from "./trouble.js";
import type { Failpoint } from "./troubled-disk.js";

/** How long a fault of the origin may be felt after its end: the attempts and time-outs of one request. */
const ORIGIN_FELT_MS = 1_500;
/** How long the loss of a member may be felt after its return. */
const LOSS_FELT_MS = 2_000;
/** How long after its end, and the age of a record, a partition may be felt: members find each other again. */
const PARTITION_FELT_MS = 2_000;
/** How long a leaving member answers everything. */
const LEAVE_AFTER_MS = 300;

/** 3 to 5 members in one process before one origin, with time, chance, disks, the network and the origin simulated. */
export class SimulatedCluster {
  readonly chance: Chance;
  readonly #rules: BrokenRules;

  readonly time = new ManualClock();
  readonly network: SimulatedNetwork;
  readonly objects = new MemoryObjects();
  readonly originFaults = new MemoryFaults();
  readonly originTrouble = new Trouble(ORIGIN_FELT_MS);
  readonly losses = new Trouble(LOSS_FELT_MS);
  readonly partitions: Trouble;
  readonly ages: Ages;
  originDistance = nearOrigin;
  /** Undefined: the network is in one piece. */
  division: Division | undefined;
  /** All that may have members do some work twice. */
  readonly disturbances = new Trouble(LOSS_FELT_MS);
  readonly places: readonly Place[];
  /** What went wrong that is no read's business. */
  readonly broken: string[] = [];
  readonly #lists: MemberLists;
  /** Ways to take trouble away before its time. */
  readonly #ends = new Set<() => void>();
  /** Called when a process has died: what it was asked is never answered. */
  onDeath: (process: MemberProcess) => void = () => {};

  constructor(chance: Chance, rules: BrokenRules, ages: Ages) {
    this.chance = chance;
    this.#rules = rules;
    this.ages = ages;
    this.partitions = new Trouble(ages.revalidateAfterMs + PARTITION_FELT_MS);
    this.network = new SimulatedNetwork(this.time, chance);
    const names = Array.from({ length: 3 + chance.below(3) }, (_, index) => `cache-${index}`);
    this.places = names.map((name) => newPlace(name, chance, this.time));
    const later = (ms: number, tell: () => void): void => this.#for(ms, tell);
    this.#lists = new MemberLists({ places: this.places, time: this.time, chance, later });
  }

  /** Members that answer users now. */
  get serving(): Place[] {
    return this.places.filter(({ serves }) => serves);
  }

  /** The valid leases of an object's record, also of members that are leaving. */
  leases(url: string): HeldLease[] {
    return this.places.flatMap(({ name, process }) => {
      const lease = process?.lease(url);
      return lease === undefined ? [] : [{ holder: name, version: lease.info?.version }];
    });
  }

  /** The one at an index, or the next one that answers users. */
  servingAt(index: number): Place | undefined {
    const { serving } = this;
    return serving[index % Math.max(1, serving.length)];
  }

  /** What wall clocks that were set back may add to the age of what restarted members believe. */
  get wallErrorMs(): number {
    const nowMs = this.time.nowMs();
    const active = this.places
      .flatMap(({ setBacks }) => setBacks)
      .filter(({ restarted, untilMs }) => restarted && untilMs > nowMs);
    return active.reduce((sum, { byMs }) => sum + byMs, 0);
  }

  async start(): Promise<void> {
    for (const place of this.places) await this.#start(place);
  }

  /** It dies here, or at a point of its work on the disk, and comes back later on the disk as it is then. */
  crash(place: Place, { silently, backAfterMs, flips, failpoint }: Crash): void {
    const { process } = place;
    if (process === undefined || this.serving.length <= 1) return;
    const die = (): void => {
      if (place.process !== process) return;
      const endLoss = this.#lost(place.name);
      process.die(silently);
      this.onDeath(process);
      this.#gone(place);
      for (let flip = 0; flip < flips; flip++) place.disk.flipBit();
      if (backAfterMs > HEARD_WITHIN_MS) this.#lists.tellAll();
      this.#return(place, backAfterMs, endLoss);
    };
    if (failpoint === undefined) die();
    else place.disk.failpoint = { ...failpoint, die };
  }

  /** It leaves in good order, and comes back later at another address. */
  leave(place: Place, backAfterMs: number): void {
    const { process } = place;
    if (process === undefined || !place.serves || this.serving.length <= 1) return;
    place.serves = false;
    const endLoss = this.#lost(place.name);
    this.#lists.tellAll();
    this.time.after(LEAVE_AFTER_MS, () => {
      if (place.process !== process) return;
      void process.leave().then(() => {
        if (place.process !== process) return;
        this.#gone(place);
        place.self = { name: place.name, grpcAddress: `${place.name}.${place.lives}:8080` };
        this.#return(place, backAfterMs, endLoss);
      });
    });
  }

  /** Nothing gets through to a member, or between two of them. */
  cut(place: Place, other: Place | undefined, forMs: number): void {
    const end = this.#lost(place.name, this.partitions);
    this.network.cut(place.name, other?.name);
    this.#for(forMs, () => {
      this.network.heal();
      end();
    });
  }

  /**
   * Members reach only those on their side for a while: those whose bits differ are on different ones. Not as long as an earlier division
   * is felt: what the sides have received differs until then.
   */
  divide(bits: number, received: ReadonlyMap<string, number>, forMs: number): void {
    const nowMs = this.time.monotonicMs();
    if (this.partitions.during(nowMs, nowMs)) return;
    const sides = new Map(this.places.map(({ name }, index) => [name, (bits >> index) & 1]));
    const ends = [...sides.keys()].map((name) => this.#lost(name, this.partitions));
    for (const [one, side] of sides) for (const [other, otherSide] of sides) if (side < otherSide) this.network.cut(one, other);
    const division = new Division(sides, received);
    this.division = division;
    this.#for(forMs, () => {
      division.isOver = true;
      this.division = undefined;
      this.network.heal();
      for (const end of ends) end();
    });
  }

  weather(weather: Weather, forMs: number): void {
    // Where connections break everywhere, anybody may lose more than one member.
    const lost = weather.breaks > 0 ? ["one", "other"] : [];
    const ends = lost.map((whom) => this.#lost(whom, this.partitions));
    if (weather.duplicates > 0) ends.push(this.#begin("network", this.disturbances));
    this.network.weather = weather;
    this.#for(forMs, () => {
      this.network.heal();
      for (const end of ends) end();
    });
  }

  originFault(rule: MemoryFaultRule, isTrouble: boolean, forMs: number): void {
    const remove = this.originFaults.place(rule);
    const end = isTrouble ? this.#begin("origin", this.originTrouble, this.disturbances) : undefined;
    this.#for(forMs, () => {
      remove();
      end?.();
    });
  }

  /** Requests to the origin and its answers take their time for a while. */
  distance(distance: OriginDistance, forMs: number): void {
    this.originDistance = distance;
    this.#for(forMs, () => {
      this.originDistance = nearOrigin;
    });
  }

  /** Messages from one member to another one take longer for a while. */
  slowLink(from: Place, to: Place, delayMs: number, forMs: number): void {
    if (from === to) return;
    this.network.slowDown(from.name, to.name, delayMs);
    // A read may do some work twice if another one that it would have joined is late.
    const end = this.#begin("network", this.disturbances);
    this.#for(forMs, () => {
      this.network.speedUp(from.name, to.name);
      end();
    });
  }

  /** Does something after a while, unless all trouble is taken away before. */
  schedule(ms: number, act: () => void): void {
    const cancel = this.time.after(ms, () => {
      this.#ends.delete(cancel);
      act();
    });
    this.#ends.add(cancel);
  }

  /** A member's process stands still for a while. */
  freeze(place: Place, forMs: number): void {
    const clock = place.process?.options.clock;
    if (clock === undefined) return;
    const endLoss = this.#lost(place.name);
    clock.freeze();
    this.#for(forMs, () => {
      clock.thaw();
      endLoss();
    });
  }

  /** A member hears of no new list for a while. */
  deafen(place: Place, forMs: number): void {
    place.deafUntilMs = this.time.monotonicMs() + forMs;
  }

  /** A member's wall clock jumps. */
  jump(place: Place, byMs: number): void {
    place.wallOffsetMs += byMs;
    if (place.process !== undefined) place.process.options.clock.wallOffsetMs = place.wallOffsetMs;
    if (byMs < 0) {
      const untilMs = this.time.nowMs() - byMs + 2 * this.ages.revalidateAfterMs;
      place.setBacks.push({ byMs: -byMs, untilMs, restarted: false });
    }
  }

  /** Takes all trouble away. */
  calm(): void {
    for (const end of [...this.#ends]) end();
    this.#ends.clear();
    this.#begin("everything", this.disturbances)();
    this.originFaults.clear();
    for (const place of this.places) {
      place.disk.calm();
      place.deafUntilMs = 0;
    }
    this.#lists.tellAll();
  }

  /** At rest no read feels what was before. */
  forgetTroubles(): void {
    const nowMs = this.time.monotonicMs();
    for (const trouble of [this.originTrouble, this.losses, this.partitions, this.disturbances]) trouble.forgetBefore(nowMs);
    for (const place of this.places) place.setBacks = place.setBacks.filter(({ untilMs }) => untilMs > nowMs);
  }

  /** Ends all members in good order. */
  async close(): Promise<void> {
    const running = this.places.flatMap(({ process }) => process ?? []);
    for (const place of this.places) this.#gone(place);
    await Promise.all(running.map((process) => process.leave()));
  }

  /** What is wrong at rest. */
  async faults(): Promise<string[]> {
    const faults = [...this.broken];
    for (const { name, process, serves } of this.places) {
      if (process === undefined || !serves) faults.push(`${name} did not come back`);
      else faults.push(...(await process.faults()));
    }
    return [...faults, ...this.#lists.faults()];
  }

  /** What went wrong so far that may never happen. */
  soFar(): string[] {
    return [...this.broken, ...this.places.flatMap(({ process }) => process?.soFar() ?? [])];
  }

  async #start(place: Place): Promise<void> {
    const clock = new ProcessClock(this.time, this.chance);
    clock.wallOffsetMs = place.wallOffsetMs;
    place.returns = true;
    place.lives++;
    for (const setBack of place.setBacks) setBack.restarted = true;
    const { objects, network, originFaults: faults } = this;
    const broken = this.#rules;
    const distance = (): OriginDistance => this.originDistance;
    const options = { self: place.self, disk: place.disk, clock, network, objects, faults, distance, broken };
    const settings = chooseSettings(this.chance, [48 * 1024, 96 * 1024], this.ages);
    try {
      place.process = await MemberProcess.start({ ...options, settings }, this.#lists.of(place));
      place.serves = true;
      this.#lists.tellAll();
    } catch (error) {
      this.broken.push(`${place.name} does not start: ${String((error as Error).stack)}`);
    }
    place.returns = false;
  }

  /** A member is lost, by itself or for others. Returns what ends that. */
  #lost(name: string, ...alsoTrouble: readonly Trouble[]): () => void {
    return this.#begin(name, this.losses, this.disturbances, ...alsoTrouble);
  }

  #begin(whom: string, ...troubles: readonly Trouble[]): () => void {
    const ends = troubles.map((trouble) => trouble.begin(whom, this.time.monotonicMs()));
    return () => {
      for (const end of ends) end(this.time.monotonicMs());
    };
  }

  #gone(place: Place): void {
    place.process = undefined;
    place.serves = false;
  }

  #return(place: Place, afterMs: number, endLoss: () => void): void {
    place.returns = true;
    place.disk.calm();
    this.#for(afterMs, () => void this.#start(place).then(endLoss));
  }

  /** Does something after a while, or as soon as all trouble is taken away. */
  #for(ms: number, end: () => void): void {
    const cancel = this.time.after(ms, () => now());
    const now = (): void => {
      cancel();
      if (this.#ends.delete(now)) end();
    };
    this.#ends.add(now);
  }
}

/** How a member dies. */
export interface Crash {
  /** As a machine without power: its connections are not closed. */
  readonly silently: boolean;
  readonly backAfterMs: number;
  /** Bits that are turned over on its disk meanwhile. */
  readonly flips: number;
  readonly failpoint?: Failpoint;
}
