import { type CallLimits, RunningCall, Unreachable } from "@frontcache/client/members";
import { CacheError, type MemberInfo, Membership, type ObjectRef, parseObjectUrl } from "@frontcache/proto";
import { eventually, ManualClock } from "@frontcache/proto/testing";
import type { CurrentRecord } from "../cache/freshness.js";
import type { LocalCache } from "../cache/local-cache.js";
import type { ObjectService } from "../objects/object-answers.js";
import { ObjectHomes } from "../objects/object-homes.js";
import type { Peers } from "../objects/peers.js";
import { RecentCallers } from "../security/recent-callers.js";
import { openCache } from "./cache-fixture.js";
import { MemoryObjects } from "./origin/memory-objects.js";
import { MemoryOrigin } from "./origin/memory-origin.js";
import { evenly } from "./other-members.js";
import { openStore, testGeometry } from "./store-fixture.js";

/** Unless a test says another time. */
const REVALIDATE_AFTER_MS = 10_000;
const { signal } = new AbortController();

const infoOf = (name: string): MemberInfo => ({ name, grpcAddress: `${name}:1` });

/** The member list with these names. */
export function listOf(...names: string[]): Membership {
  return Membership.of(names.map(infoOf), testGeometry.blockBytes);
}

/** The homes of objects at several members, which call each other's methods directly, before one origin and with one clock. */
export class TestHomes {
  readonly clock = new ManualClock();
  readonly objects = new MemoryObjects();
  readonly members = new Map<string, TestMember>();
  /** Names of members that can't be reached. */
  readonly gone = new Set<string>();
  /** Names of members that refuse all others: without a key, a member does so until it has a list with them. */
  readonly refusing = new Set<string>();
  /** By name: when a member that can't be reached has answered a probe nevertheless. */
  readonly answeredAtMs = new Map<string, number>();
  /** Calls between members, as "method from>to". */
  readonly calls: string[] = [];
  /** How old a record may be. */
  readonly revalidateAfterMs: number;

  constructor({ revalidateAfterMs = REVALIDATE_AFTER_MS } = {}) {
    this.revalidateAfterMs = revalidateAfterMs;
  }

  /** Starts a member, which has nothing to take over from members that can't be reached. */
  async start(name: string, list: Membership): Promise<TestMember> {
    const member = await TestMember.start(this, name, list);
    this.members.set(name, member);
    return member;
  }

  /** Starts members with one list. Resolves when each of them decides. */
  async startAll(...names: string[]): Promise<TestMember[]> {
    const list = listOf(...names);
    const started: TestMember[] = [];
    for (const name of names) started.push(await this.start(name, list));
    const tookOver = Promise.all(started.map(({ homes }) => homes.tookOver()));
    // Members that were started later were unreachable for those before.
    await eventually(async () => {
      this.clock.advance(200);
      if (started.some(({ homes }) => homes.status().takeOvers > 0)) throw new Error("takeovers are outstanding");
    });
    await tookOver;
    this.calls.length = 0;
    this.gone.clear();
    return started;
  }

  /** Settles as the work does, while the clock advances. */
  async whileTimePasses<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    work.then(over, over);
    await eventually(() => {
      this.clock.advance(50);
      if (!isOver) throw new Error("the work is not over");
    });
    return work;
  }

  async close(): Promise<void> {
    for (const { homes, local } of this.members.values()) {
      await homes.close();
      await local.close();
    }
  }
}

/** A member that calls the others' methods directly. */
export class TestMember implements Peers {
  readonly callers = new RecentCallers();
  readonly #cluster: TestHomes;
  readonly self: MemberInfo;
  readonly local: LocalCache;
  readonly origin: MemoryOrigin;
  readonly homes: ObjectHomes;
  readonly view: { current: Membership };
  readonly connections: Peers["connections"];

  private constructor(cluster: TestHomes, name: string, list: Membership, local: LocalCache, origin: MemoryOrigin) {
    this.#cluster = cluster;
    const { clock } = cluster;
    this.self = infoOf(name);
    this.view = { current: list };
    this.local = local;
    this.origin = origin;
    this.connections = { objects: this.#calls() };
    this.homes = new ObjectHomes({
      peers: this,
      membership: list,
      clock: { ...evenly(clock), nowMs: () => clock.nowMs() },
      local,
      revalidateAfterMs: cluster.revalidateAfterMs,
      negativeTtlMs: 1_000,
      staleIfError: true,
      isRestarted: false,
      mayHaveOthers: true,
    });
  }

  /** Use `TestHomes.start`. */
  static async start(cluster: TestHomes, name: string, list: Membership): Promise<TestMember> {
    const { clock, objects, revalidateAfterMs } = cluster;
    const stored = await openStore();
    const origin = new MemoryOrigin(objects, clock, 10_000);
    let member: TestMember | undefined;
    const onChange = (url: string): void => member?.homes.changed(url);
    const local = openCache({ ...stored, clock }, origin, { fill: "wanted", revalidateAfterMs, onChange });
    member = new TestMember(cluster, name, list, local, origin);
    return member;
  }

  route(url: string): ReturnType<Peers["route"]> {
    const others: MemberInfo[] = [];
    for (const member of this.view.current.owners(url, 0)) {
      if (member.name === this.self.name) return { others, thenHere: true };
      if (!this.#cluster.gone.has(member.name)) others.push(member);
    }
    return { others, thenHere: false };
  }

  async first<Result>(candidates: readonly MemberInfo[], at: (member: MemberInfo) => Promise<Result>): Promise<Result> {
    for (const [index, member] of candidates.entries()) {
      try {
        return await at(member);
      } catch (error) {
        if (!(error instanceof Unreachable) || index === candidates.length - 1) throw error;
      }
    }
    throw new Unreachable("nobody to ask");
  }

  heardOf({ name }: MemberInfo): void {
    if (this.#cluster.gone.has(name)) throw new Error(`${name} called although it is unreachable`);
  }

  answeredAtMs({ name }: MemberInfo): number {
    return this.#cluster.answeredAtMs.get(name) ?? Number.NEGATIVE_INFINITY;
  }

  call(subject: string, of: AbortSignal): RunningCall {
    return new RunningCall({ clock: evenly(this.#cluster.clock), subject, signal: of });
  }

  update(list: Membership): void {
    this.view.current = list;
    this.homes.update(list);
  }

  async current(ref: ObjectRef): Promise<CurrentRecord> {
    const record = await this.homes.current(ref, signal);
    return "info" in record ? record : { info: record, isStale: false };
  }

  #calls(): Peers["connections"]["objects"] {
    const at = (method: string, { grpcAddress }: { grpcAddress: string }, limits: CallLimits): ObjectService => {
      const { gone, refusing, members, calls } = this.#cluster;
      const name = grpcAddress.split(":")[0]!;
      if (limits.ended !== undefined) throw limits.ended;
      const member = members.get(name);
      if (gone.has(name) || gone.has(this.self.name) || member === undefined)
        throw new Unreachable(`${name} is unreachable`, { wasSent: false });
      calls.push(`${method} ${this.self.name}>${name}`);
      if (refusing.has(name)) throw new CacheError("PERMISSION_DENIED", `${name} does not know ${this.self.name} as a member`);
      return member.homes.service;
    };
    return {
      lookUpRecords: async (address, request, onAnswer, limits) =>
        at("lookUp", address, limits).lookUp(request, (answers) => answers.forEach(onAnswer), limits.signal),
      renewLeases: async (address, request, limits) => at("renew", address, limits).renew(request),
      versionChanged: async (address, urls, limits) => at("changed", address, limits).versionChanged(urls),
      handOver: async (address, request, onRecord, limits) =>
        at("handOver", address, limits).handOver(request, async (records) => records.forEach(onRecord)),
    };
  }
}

/** An object whose homes by a list are these, in the order of the ring. */
export function objectOf(list: Membership, ...homes: string[]): ObjectRef {
  for (let number = 0; ; number++) {
    const url = `s3://bucket/object-${number}`;
    if (homes.every((name, rank) => list.owner(url, 0, rank)?.name === name)) return parseObjectUrl(url);
  }
}
