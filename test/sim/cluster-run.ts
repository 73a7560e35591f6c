import { type ManualClock, rampBytes } from "@frontcache/server/testing";
import { Chance } from "../seeded-random.js";
import { ClusterReaders } from "./cluster-readers.js";
import { type Action, requestOf, type Step, versionBack, wantedOf } from "./cluster-steps.js";
import { PARTITION_FELT_MS } from "./cluster-troubles.js";
import { ClusterWriters } from "./cluster-writers.js";
import { FailingReads } from "./failing-reads.js";
import { HEARD_WITHIN_MS } from "./member-lists.js";
import type { Place } from "./place.js";
import { SimulatedCluster } from "./simulated-cluster.js";
import type { BrokenRules } from "./simulated-member.js";
import { nearOrigin } from "./simulated-origin.js";
import { type Ages, shortAges, URLS } from "./simulated-parts.js";
import { during, pass } from "./simulated-time.js";
import type { Subject } from "./step-makers.js";
import { VersionHistory } from "./version-history.js";

/** Steps that happen to one member. */
type MemberStep = Extract<
  Step,
  { kind: "evict" | "disk" | "fillDisk" | "cut" | "crash" | "leave" | "freeze" | "deafen" | "jump" }
>;

/** How a run differs from others besides its steps. */
export interface RunOptions {
  readonly rules?: BrokenRules;
  /** What the steps are about: with `versions`, members believe some versions for long. */
  readonly subject?: Subject;
}

/** What one run came to. */
export interface RunReport {
  readonly seed: number;
  /** Steps taken; fewer than given where it broke. */
  readonly steps: number;
  /** What must not be, one line each; empty where all is well. */
  readonly broken: readonly string[];
  /** Reads answered with their bytes right, and with an error that is allowed. */
  readonly served: number;
  readonly refused: number;
  /** When it ended, in its own time; equal runs end at an equal time. */
  readonly endedMs: number;
}

/** How long everything may take to come to its end once all trouble is over. */
const REST_MS = 30_000;

/** Longer than members wait for the confirmation of one that is not in their list any more. */
const UNLISTED_MS = 66_000;

/** Longer than most bodies that are written, which have up to 20,480 bytes; all copies at a time share as much memory. */
const TEE_WRITES_BYTES = 16 * 1024;

/** A cluster with its users, step by step. */
class ClusterRun {
  readonly #seed: number;
  readonly #subject: Subject;

  readonly #chance: Chance;
  readonly #cluster: SimulatedCluster;
  readonly #history = new VersionHistory();
  readonly #readers: ClusterReaders;
  readonly #failing: FailingReads;
  readonly #writers: ClusterWriters;
  #puts = 0;

  constructor(seed: number, { rules = {}, subject = "all" }: RunOptions) {
    this.#seed = seed;
    this.#subject = subject;
    this.#chance = new Chance(seed);
    this.#cluster = new SimulatedCluster(
      this.#chance,
      rules,
      agesOf(seed, subject),
      subject === "writes" ? TEE_WRITES_BYTES : undefined,
    );
    this.#readers = new ClusterReaders(this.#cluster, this.#history);
    this.#failing = new FailingReads(this.#cluster, this.#readers);
    this.#writers = new ClusterWriters(this.#cluster, this.#history, this.#readers.model);
  }

  get time(): ManualClock {
    return this.#cluster.time;
  }

  async run(steps: readonly Step[]): Promise<RunReport> {
    const { time } = this;
    for (const url of URLS) this.#put(url, this.#chance.below(20_000));
    await during(time, this.#cluster.start());
    // All members have the same list, unless the first reads must find different ones.
    if (this.#subject !== "divided") await pass(time, HEARD_WITHIN_MS);
    await during(time, this.#readers.connect(this.#subject === "near"));
    let taken = 0;
    for (const step of steps) {
      this.#chance.reseed(step.seed);
      await this.#take(step);
      await pass(time, step.thenMs);
      taken++;
      if (this.#broken().length > 0) return this.#report(taken, this.#broken());
    }
    const atRest = await this.#rest();
    if (atRest.length > 0) return this.#report(taken, atRest);
    await during(
      time,
      this.#readers.close().then(() => this.#cluster.close()),
    );
    await pass(time, REST_MS);
    const left = time.waits === 0 ? [] : [`${time.waits} timers are left when all have ended`];
    return this.#report(taken, [...left, ...this.#broken()]);
  }

  async #take(step: Step): Promise<void> {
    const cluster = this.#cluster;
    switch (step.kind) {
      case "read":
      case "clientRead":
        this.#read(step);
        break;
      case "http": {
        const request = requestOf(step, this.#history.versions(step.url));
        this.#readers.byHttp(step.member, step.url, request, step);
        break;
      }
      case "failing":
        this.#failing.start(step);
        break;
      case "stat":
        this.#readers.stat(step.client, step.url, versionBack(this.#history.versions(step.url), step.back));
        break;
      case "put":
        this.#put(step.url, step.size);
        break;
      case "putAgain":
        this.#putAgain(step.url, step.back);
        break;
      case "delete":
        cluster.objects.delete(step.url);
        this.#history.delete(step.url, cluster.time.nowMs());
        break;
      case "write":
        this.#write(step);
        break;
      case "lostWrite":
        await this.#loseWrite(step);
        break;
      case "warm":
        this.#readers.warm(step.client, step.url);
        break;
      case "abort":
        this.#readers.abortOne();
        break;
      case "poll":
        this.#poll(step);
        break;
      case "slowLink": {
        const from = cluster.servingAt(step.from);
        const to = step.to === undefined ? undefined : cluster.servingAt(step.to);
        for (const place of to === undefined ? cluster.places : [to])
          if (from !== undefined) cluster.troubles.slowLink(from, place, step.delayMs, step.forMs);
        break;
      }
      case "rest":
        cluster.broken.push(...(await this.#rest()));
        break;
      case "slowOrigin":
        cluster.troubles.originFault({ latencyMs: step.latencyMs, chunkDelayMs: step.chunkDelayMs }, false, step.forMs);
        break;
      case "origin":
        this.#troubleOrigin(step);
        break;
      case "divide":
        cluster.troubles.divide(step.bits, new Map(URLS.map((url) => [url, this.#readers.model.floor(url)])), step.forMs);
        break;
      case "distance":
        cluster.troubles.distance(step, step.forMs);
        break;
      case "unlist":
        await this.#unlist(step.member);
        break;
      case "weather":
        cluster.troubles.weather(step, step.forMs);
        break;
      default: {
        const place = cluster.servingAt(step.member);
        if (place !== undefined) this.#befall(place, step);
      }
    }
  }

  /** Something happens to one member. */
  #befall(place: Place, step: MemberStep): void {
    const cluster = this.#cluster;
    switch (step.kind) {
      case "evict":
        // A member that can't be reached is said to the user, who evicts again.
        void place.process?.evict(step.url).catch(() => {});
        break;
      case "disk":
        place.disk.trouble = { fails: step.fails, waits: step.waits };
        break;
      case "fillDisk":
        place.disk.files.foreignBytes = step.bytes;
        break;
      case "cut":
        cluster.troubles.cut(place, step.other === undefined ? undefined : cluster.servingAt(step.other), step.forMs);
        break;
      case "crash":
        cluster.crash(place, { ...step, ...(step.at !== undefined && { failpoint: step.at }) });
        break;
      case "leave":
        cluster.leave(place, step.backAfterMs);
        break;
      case "freeze":
        cluster.freeze(place, step.forMs);
        break;
      case "deafen":
        cluster.deafen(place, step.forMs);
        break;
      case "jump":
        cluster.jump(place, step.byMs);
        break;
    }
  }

  #read(step: Extract<Step, { kind: "read" | "clientRead" }>): void {
    const wanted = wantedOf(step, this.#history.versions(step.url));
    if (step.kind === "clientRead") this.#readers.byClient(step.client, wanted, step.streamed);
    else for (let reader = 0; reader < step.readers; reader++) this.#readers.throughMember(step.member, wanted, step);
  }

  #troubleOrigin({ fails, afterBytes, forMs }: Extract<Step, { kind: "origin" }>): void {
    const rule = fails === "refuses" ? ({ error: "UNAVAILABLE" } as const) : { body: { afterBytes, how: fails } };
    this.#cluster.troubles.originFault(rule, true, forMs);
  }

  /** Another version of an object; every version of one object is another ramp, as long as there are not 251 of them. */
  #put(url: string, size: number): void {
    const seed = (this.#puts++ * 7) % 251;
    const contentType = `text/v${this.#puts}`;
    const version = this.#cluster.objects.putRamp(url, size, seed, { contentType });
    this.#history.put(url, { version, size, seed, contentType }, this.#cluster.time.nowMs());
  }

  /** Another version of an object, or its absence, through a member. */
  #write({ member, url, size, deletes }: Extract<Action, { kind: "write" }>): void {
    const bytes = deletes ? undefined : rampBytes(0, size, (this.#puts++ * 7) % 251);
    const contentType = `text/v${this.#puts}`;
    this.#writers.write(member, url, bytes, contentType);
  }

  /** Other writes of the object would have all members ask the origin, so nothing else happens meanwhile. */
  async #loseWrite({ url, size, takenWithinMs, diesAfterMs, backAfterMs }: Extract<Step, { kind: "lostWrite" }>): Promise<void> {
    this.#cluster.broken.push(...(await this.#rest()));
    const { serving, troubles } = this.#cluster;
    const home = serving[0]?.process?.view.current.owner(url, 0)?.name;
    const member = serving.findIndex(({ name }) => name === home);
    const place = serving[member];
    if (place === undefined) return;
    troubles.distance({ ...nearOrigin, writeMs: takenWithinMs }, diesAfterMs);
    this.#write({ kind: "write", member, url, size, deletes: false });
    troubles.schedule(diesAfterMs, () => this.#cluster.crash(place, { silently: false, backAfterMs, flips: 0 }));
    this.#poll({ url, everyMs: 100, times: takenWithinMs / 100 });
    await pass(this.time, takenWithinMs);
  }

  /** All others take over from a member that notices nothing. Ends when no read may be old any more because of that. */
  async #unlist(member: number): Promise<void> {
    const cluster = this.#cluster;
    const place = cluster.servingAt(member);
    if (place === undefined || cluster.serving.length <= 1) return;
    cluster.unlist(place, UNLISTED_MS);
    for (const url of URLS) this.#poll({ url, everyMs: 2_000, times: UNLISTED_MS / 2_000 });
    await pass(this.time, UNLISTED_MS + cluster.ages.revalidateAfterMs + 2 * PARTITION_FELT_MS);
  }

  /** An object is asked for again and again for a while. */
  #poll({ url, everyMs, times }: Pick<Extract<Step, { kind: "poll" }>, "url" | "everyMs" | "times">): void {
    for (let time = 0; time < times; time++) this.#cluster.troubles.schedule(time * everyMs, () => this.#readers.poll(url, time));
  }

  /** An earlier version with another header. */
  #putAgain(url: string, back: number): void {
    const versions = this.#history.versions(url);
    const put = versions[Math.max(0, versions.length - 1 - back)]!;
    const contentType = `text/v${++this.#puts}`;
    this.#cluster.objects.putRamp(url, put.size, put.seed, { contentType, version: put.version });
    this.#history.put(url, { ...put, contentType }, this.#cluster.time.nowMs());
  }

  /** Takes all trouble away, lets everything come to its end, and looks at what is left. */
  async #rest(): Promise<string[]> {
    const cluster = this.#cluster;
    cluster.calm();
    await pass(cluster.time, REST_MS);
    cluster.forgetTroubles();
    const faults = await during(cluster.time, cluster.faults());
    return [...faults, ...this.#readers.faults(), ...this.#failing.faults(), ...this.#writers.faults()];
  }

  #broken(): string[] {
    return [...this.#cluster.soFar(), ...this.#readers.model.broken, ...this.#failing.broken];
  }

  #report(steps: number, broken: readonly string[]): RunReport {
    const { served, refused } = this.#readers.model;
    return { seed: this.#seed, steps, broken, served, refused, endedMs: this.#cluster.time.nowMs() };
  }
}

/** How long members believe versions: some for so long that only a message can tell them better. */
function agesOf(seed: number, subject: Subject): Ages {
  return subject === "all" ? shortAges : { ...shortAges, revalidateAfterMs: [2_000, 6_000, 60_000][seed % 3]! };
}

/** Runs the steps of a seed on a cluster made by that seed. The same seed and steps come to the same report. */
export async function runCluster(seed: number, steps: readonly Step[], options: RunOptions = {}): Promise<RunReport> {
  const run = new ClusterRun(seed, options);
  const putBack = options.rules?.patch?.(run.time);
  try {
    return await run.run(steps);
  } finally {
    putBack?.();
  }
}
