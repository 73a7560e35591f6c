import { parseObjectUrl } from "@frontcache/proto";
import {
  type BlockStore,
  buildTestMember,
  type LocalCache,
  ManualClock,
  MemoryObjects,
  MemoryOrigin,
  storageFaults,
} from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";
import { type AskedRead, ReadModel } from "./read-model.js";
import { cacheSettings, chooseSettings, geometry, openStore, retrying, shortAges, URLS } from "./simulated-parts.js";
import { during, ProcessClock, pass, turn } from "./simulated-time.js";
import { readSlowly } from "./slow-reader.js";
import { Trouble } from "./trouble.js";
import { TroubledDisk } from "./troubled-disk.js";
import { VersionHistory } from "./version-history.js";

/** The cache of one member with its ports simulated: time, chance, disk and origin all come from one seed. */
export class MemberWorld {
  readonly chance: Chance;

  readonly time = new ManualClock();
  readonly history = new VersionHistory();
  readonly objects = new MemoryObjects();
  readonly origin = new MemoryOrigin(this.objects, this.time, 200);
  /** When the origin was made to fail: then reads may fail or be stale. */
  readonly originTrouble = new Trouble(0);
  /** A member that was started again may not know what its predecessor has sent, if the origin cannot be asked. */
  readonly losses = new Trouble(0);
  readonly model: ReadModel;
  readonly disk: TroubledDisk;
  readonly #reads = new Set<{ readonly asked: AskedRead; readonly abort: AbortController }>();
  #endTrouble: (nowMs: number) => void = () => {};
  #endLoss: (nowMs: number) => void = () => {};
  #clock!: ProcessClock;
  #store!: BlockStore;
  #cache!: LocalCache;

  constructor(chance: Chance) {
    this.chance = chance;
    const { time, history, originTrouble, losses } = this;
    this.disk = new TroubledDisk(200 * 1024, chance, () => time.nowMs());
    const partitions = new Trouble(0);
    const nowMs = (): number => time.nowMs();
    this.model = new ReadModel({
      history,
      originTrouble,
      losses,
      partitions,
      nowMs,
      ...shortAges,
      wallErrorMs: () => 0,
      leases: () => [],
    });
  }

  /** What the model does not allow, and what was wrong at rest; empty as long as all is well. */
  get broken(): string[] {
    return this.model.broken;
  }

  /** Opens the member on its disk, as it is. */
  async start(): Promise<void> {
    const { time, chance, disk } = this;
    this.#clock = new ProcessClock(time, chance);
    const settings = chooseSettings(chance, [96 * 1024], shortAges);
    this.#store = await during(time, openStore(disk, this.#clock, settings));
    const origin = retrying(this.origin, this.#clock);
    const parts = { geometry, clock: this.#clock, store: this.#store, origin, settings: cacheSettings(settings) };
    this.#cache = buildTestMember(parts).local;
  }

  /** Puts another version of an object; sizes vary from nothing to several blocks. */
  put(url: string): void {
    const size = this.chance.below(5 * geometry.blockBytes);
    const seed = this.chance.below(251);
    const version = this.objects.putRamp(url, size, seed);
    this.history.put(url, { version, size, seed }, this.time.nowMs());
  }

  delete(url: string): void {
    this.objects.delete(url);
    this.history.delete(url, this.time.nowMs());
  }

  /** Starts a read of one block's part; it is judged when it ends, whenever that is. */
  read(url: string, version: string | undefined, blockOffset: number, start: number, length: number): void {
    const abort = new AbortController();
    const { signal } = abort;
    const startedMs = this.time.nowMs();
    const floor = this.model.floor(url);
    const asked = { url, version, offset: blockOffset + start, length, startedMs, floor, cachedOnly: false, signal };
    const range = { blockOffset, start, end: start + length, openEnded: this.chance.happens(0.2) };
    const request = { ref: parseObjectUrl(url), version, ...range, cachedOnly: false, signal };
    const leavesAfter = this.chance.happens(0.1) ? this.chance.below(4) : Number.POSITIVE_INFINITY;
    const read = { asked, abort };
    this.#reads.add(read);
    const how = { clock: this.#clock, chance: this.chance, slowness: 0.3, leavesAfter, signal };
    void readSlowly(() => this.#cache.open(request), how).then((outcome) => {
      if (this.#reads.delete(read)) this.model.judge(asked, outcome);
    });
  }

  abortOne(): void {
    const reads = [...this.#reads];
    if (reads.length > 0) this.chance.pick(reads).abort.abort();
  }

  evict(url: string): void {
    void this.#cache.evict({ url });
  }

  /** From now on until the next rest the origin may fail. */
  troubleOrigin(): void {
    this.#endTrouble(this.time.nowMs());
    this.#endTrouble = this.originTrouble.begin("origin", this.time.nowMs());
  }

  pass(ms: number): Promise<void> {
    return pass(this.time, ms);
  }

  /** Takes all trouble away, lets everything come to its end, has the member ask about all objects, and checks the invariants. */
  async rest(): Promise<void> {
    this.#calm();
    for (const url of URLS) this.read(url, undefined, 0, 0, 1);
    await this.pass(20_000);
    const { broken, origin } = this;
    if (this.#reads.size > 0) broken.push(`${this.#reads.size} reads never ended`);
    const { fills, fillMemoryBytes, waitingParts } = this.#cache.status();
    if (fills + fillMemoryBytes + waitingParts > 0) broken.push(`at rest: ${JSON.stringify(this.#cache.status())}`);
    if (origin.open > 0) broken.push(`at rest: ${origin.open} answers of the origin are open`);
    if (origin.doubled.length > 0) broken.push(`fetched twice at a time: ${JSON.stringify(origin.doubled)}`);
    broken.push(...(await storageFaults(this.#store, this.disk.files, geometry)));
    this.#endTrouble(this.time.nowMs());
    this.#endLoss(this.time.nowMs());
  }

  /** Ends the member in good order and starts it again on the same disk. */
  async restart(): Promise<void> {
    await this.rest();
    if (this.broken.length > 0) return;
    await during(
      this.time,
      this.#cache.close().then(() => this.#store.close()),
    );
    this.#beginLoss();
    await this.start();
  }

  /** The process dies where it stands; what stays on the disk may have a bit turned over. */
  async crash(): Promise<void> {
    for (const { abort } of this.#reads) abort.abort();
    this.#reads.clear();
    this.#calm();
    this.#clock.die();
    this.disk.crash();
    this.#beginLoss();
    if (this.chance.happens(0.3)) this.disk.flipBit();
    // What the dead process was doing goes on nowhere: its origin requests end with it, its disk operations never do.
    void this.#cache.close();
    await turn();
    this.origin.doubled.length = 0;
    await this.start();
  }

  /**
   * Until the next rest, in which the member learns what the objects are. The disk may not have kept the version that the member has sent
   * last, and never keeps that an object is missing.
   */
  #beginLoss(): void {
    this.#endLoss(this.time.nowMs());
    this.#endLoss = this.losses.begin("member", this.time.nowMs());
  }

  #calm(): void {
    this.disk.calm();
    this.origin.faults.clear();
  }
}
