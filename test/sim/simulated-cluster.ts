import { ManualClock, MemoryObjects } from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";
import { ClusterTroubles } from "./cluster-troubles.js";
import { HEARD_WITHIN_MS, MemberLists } from "./member-lists.js";
import { newPlace, type Place } from "./place.js";
import type { HeldLease } from "./read-model.js";
import { type BrokenRules, MemberProcess } from "./simulated-member.js";
import { SimulatedNetwork } from "./simulated-network.js";
import type { OriginDistance } from "./simulated-origin.js";
import { type Ages, chooseSettings } from "./simulated-parts.js";
import { ProcessClock } from "./simulated-time.js";
import type { Failpoint } from "./troubled-disk.js";

/** How long a leaving member answers everything. */
const LEAVE_AFTER_MS = 300;

/** 3 to 5 members in one process before one origin, with time, chance, disks, the network and the origin simulated. */
export class SimulatedCluster {
  readonly chance: Chance;
  readonly #rules: BrokenRules;

  readonly time = new ManualClock();
  readonly network: SimulatedNetwork;
  readonly objects = new MemoryObjects();
  readonly troubles: ClusterTroubles;
  readonly ages: Ages;
  readonly places: readonly Place[];
  /** What went wrong that is no read's business. */
  readonly broken: string[] = [];
  readonly #teeWritesBytes: number | undefined;
  readonly #lists: MemberLists;
  /** Called when a process has died: what it was asked is never answered. */
  onDeath: (process: MemberProcess) => void = () => {};

  /** `teeWritesBytes`: the longest written body that members cache; undefined: they cache none. */
  constructor(chance: Chance, rules: BrokenRules, ages: Ages, teeWritesBytes?: number) {
    this.#teeWritesBytes = teeWritesBytes;
    this.chance = chance;
    this.#rules = rules;
    this.ages = ages;
    this.network = new SimulatedNetwork(this.time, chance);
    const names = Array.from({ length: 3 + chance.below(3) }, (_, index) => `cache-${index}`);
    this.places = names.map((name) => newPlace(name, chance, this.time));
    const { time, network } = this;
    this.troubles = new ClusterTroubles({ time, network, names, revalidateAfterMs: ages.revalidateAfterMs });
    const later = (ms: number, tell: () => void): void => this.troubles.untilCalm(ms, tell);
    this.#lists = new MemberLists({ places: this.places, time, chance, later });
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
      const endLoss = this.troubles.lost(place.name);
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
    const endLoss = this.troubles.lost(place.name);
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

  /** A member's process stands still for a while. */
  freeze(place: Place, forMs: number): void {
    const clock = place.process?.options.clock;
    if (clock === undefined) return;
    const endLoss = this.troubles.lost(place.name);
    clock.freeze();
    this.troubles.untilCalm(forMs, () => {
      clock.thaw();
      endLoss();
    });
  }

  /** A member hears of no new list for a while. */
  deafen(place: Place, forMs: number): void {
    place.deafUntilMs = this.time.monotonicMs() + forMs;
  }

  /** All others see a member leave their lists and return after a while. It sees neither. */
  unlist(place: Place, forMs: number): void {
    const { troubles } = this;
    const end = troubles.lost(place.name, troubles.partitions);
    place.isUnlisted = true;
    this.#lists.tellAll();
    troubles.untilCalm(forMs, () => {
      place.isUnlisted = false;
      this.#lists.tellAll();
      end();
    });
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
    this.troubles.calm();
    for (const place of this.places) {
      place.disk.calm();
      place.deafUntilMs = 0;
    }
    this.#lists.tellAll();
  }

  /** At rest no read feels what was before. */
  forgetTroubles(): void {
    const nowMs = this.time.monotonicMs();
    this.troubles.forget();
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
    const { objects, network, troubles } = this;
    const { originFaults: faults } = troubles;
    const broken = this.#rules;
    const distance = (): OriginDistance => troubles.originDistance;
    const options = { self: place.self, disk: place.disk, clock, network, objects, faults, distance, broken };
    const settings = chooseSettings(this.chance, [48 * 1024, 96 * 1024], this.ages, this.#teeWritesBytes);
    try {
      place.process = await MemberProcess.start({ ...options, settings }, this.#lists.firstOf(place));
      place.serves = true;
      this.#lists.tellAll();
    } catch (error) {
      this.broken.push(`${place.name} does not start: ${String((error as Error).stack)}`);
    }
    place.returns = false;
  }

  #gone(place: Place): void {
    place.process = undefined;
    place.serves = false;
  }

  #return(place: Place, afterMs: number, endLoss: () => void): void {
    place.returns = true;
    place.disk.calm();
    this.troubles.untilCalm(afterMs, () => void this.#start(place).then(endLoss));
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
