import { ConnectionFailure, Unreachable } from "@frontcache/client/members";
import {
  collectHeaders,
  type MemberInfo,
  Membership,
  outOfRange,
  ValueAnswer,
  ValueCall,
  ValueEventMessage,
  WatchValuesRequest,
} from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import type { Slice } from "../runtime/slice.js";
import { ANONYMOUS } from "../security/principal.js";
import type { BlockStore, BucketShareSetting } from "../storage/block-store.js";
import { ReplicatedValues } from "../values/replicated-values.js";
import type { ValueBucket } from "../values/value-buckets.js";
import { entryHeader, infoInHeaders } from "../values/value-entry.js";
import { sendEvents } from "../values/value-events.js";
import type { ValueMembers } from "../values/value-members.js";
import { openTestStore } from "./member-fixture.js";
import { MemoryDisk } from "./memory-disk.js";
import { silentLog } from "./silent-ports.js";
import { testGeometry } from "./store-fixture.js";

export interface ValuesClusterOptions {
  readonly names: readonly string[];
  readonly clock?: ManualClock | undefined;
  readonly replicas?: number | undefined;
  readonly diskBytes?: number | undefined;
  readonly buckets?: readonly ValueBucket[] | undefined;
  /** Of each member's volume. */
  readonly shares?: readonly BucketShareSetting[] | undefined;
  /** Called before a call arrives; may wait or throw. */
  readonly before?: ((from: string, to: string, call: ValueCall) => Promise<void>) | undefined;
}

/** A member of the cluster. */
interface Running {
  readonly values: ReplicatedValues;
  readonly store: BlockStore;
  readonly disk: MemoryDisk;
}

/** Members in one process that keep values, on disks in memory, over a network that the test divides. */
export class ValuesCluster {
  readonly clock: ManualClock;
  readonly #options: ValuesClusterOptions;
  readonly #running = new Map<string, Running>();
  readonly #disks = new Map<string, MemoryDisk>();
  readonly #cut = new Set<string>();
  readonly #doubted = new Set<string>();
  #membership: Membership;
  /** The lists of members, newest first. */
  readonly #lists = new Map<string, readonly Membership[]>();
  #epochs = 0;

  private constructor(options: ValuesClusterOptions) {
    this.#options = options;
    this.clock = options.clock ?? new ManualClock(1_700_000_000_000);
    this.#membership = membershipOf(options.names);
  }

  static async open(options: ValuesClusterOptions): Promise<ValuesCluster> {
    const cluster = new ValuesCluster(options);
    for (const name of options.names) await cluster.start(name);
    return cluster;
  }

  get names(): string[] {
    return [...this.#running.keys()];
  }

  values(name: string): ReplicatedValues {
    return this.#running.get(name)!.values;
  }

  store(name: string): BlockStore {
    return this.#running.get(name)!.store;
  }

  disk(name: string): MemoryDisk {
    return this.#running.get(name)!.disk;
  }

  isRunning(name: string): boolean {
    return this.#running.has(name);
  }

  /** The members in the order of the ring at a value. */
  ring(url: string): string[] {
    return [...this.#membership.owners(url, 0)].map(({ name }) => name);
  }

  /** Starts a member on the disk that it had. */
  async start(name: string): Promise<void> {
    const { clock } = this;
    const { replicas = 2, buckets = [{ name: "bucket", ttlSeconds: 0 }], diskBytes = 64 << 20 } = this.#options;
    const disk = this.#disks.get(name) ?? new MemoryDisk({ totalBytes: diskBytes, nowMs: () => clock.nowMs() });
    this.#disks.set(name, disk);
    const store = await openTestStore({ geometry: testGeometry, disk, clock, buckets: this.#options.shares ?? [] });
    const values = await ReplicatedValues.open({
      buckets,
      replicas,
      members: this.#membersOf(name),
      store,
      geometry: testGeometry,
      clock,
      log: silentLog,
      disk,
      directory: "/cache/values",
      epoch: `${name}/${++this.#epochs}`,
    });
    this.#running.set(name, { values, store, disk });
  }

  /** The process of a member dies: what is on its disk stays. */
  kill(name: string): void {
    const { disk, values } = this.#running.get(name)!;
    this.#disks.set(name, disk.crash());
    this.#running.delete(name);
    void values.close();
  }

  /** A member loses its disk, too. */
  destroy(name: string): void {
    if (this.#running.has(name)) this.kill(name);
    this.#disks.delete(name);
  }

  async stop(name: string): Promise<void> {
    const { values, store } = this.#running.get(name)!;
    this.#running.delete(name);
    await values.close();
    await store.close();
  }

  /** Members, by default all, learn of a new list. A new one knows that the others had one without it. */
  setMembers(names: readonly string[], learning = [...this.names, ...names]): void {
    this.#membership = membershipOf(names);
    for (const name of new Set(learning)) {
      const before = this.#lists.get(name)?.[0] ?? membershipOf(names.filter((other) => other !== name));
      this.#lists.set(name, [this.#membership, before]);
    }
  }

  cut(one: string, other: string): void {
    this.#cut.add(linkOf(one, other));
  }

  heal(): void {
    this.#cut.clear();
  }

  /** A member takes another one for unreachable, because that one was busy, until a call to it succeeds. */
  doubt(one: string, other: string): void {
    this.#doubted.add(`${one} ${other}`);
  }

  /** Lets time pass in steps, with all that the members do meanwhile. */
  async advance(byMs: number, stepMs = 250): Promise<void> {
    for (let passed = 0; passed < byMs; passed += stepMs) {
      this.clock.advance(Math.min(stepMs, byMs - passed));
      await this.settle();
    }
  }

  /** Lets time pass until a condition holds, at most a minute. Returns whether it does. */
  async within(isMet: () => boolean): Promise<boolean> {
    for (let passed = 0; passed < 60_000 && !isMet(); passed += 250) await this.advance(250);
    return isMet();
  }

  /** Lets running work continue that needs no time. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  async close(): Promise<void> {
    for (const name of this.names) await this.stop(name);
  }

  /** A body whose pieces arrive while its receiver can be reached. */
  async *#arriving(bytes: AsyncIterable<Uint8Array>, reach: () => unknown): AsyncGenerator<Uint8Array> {
    for await (const piece of bytes) {
      reach();
      yield Buffer.from(piece);
    }
  }

  /** Nobody listens at the address of a member that has died. One that is cut off does not answer. */
  #failureOf(name: string): Error | undefined {
    if (this.#running.has(name)) return undefined;
    return ConnectionFailure.of(name, Object.assign(new Error("connection refused"), { code: "ECONNREFUSED" }));
  }

  #reaches(from: string, to: string): boolean {
    return this.#running.has(to) && !this.#cut.has(linkOf(from, to));
  }

  #membersOf(self: string): ValueMembers {
    if (!this.#lists.has(self)) this.#lists.set(self, [this.#membership]);
    const current = (): Membership => this.#lists.get(self)![0]!;
    const reach = (member: MemberInfo): ReplicatedValues => {
      const { name } = member;
      if (!this.#reaches(self, name)) throw new Unreachable(`no connection to member ${name}`, { cause: this.#failureOf(name) });
      this.#doubted.delete(`${self} ${name}`);
      return this.values(name);
    };
    return {
      self,
      get members() {
        return current().members;
      },
      get hash() {
        return current().hash;
      },
      ring: (url) => current().owners(url, 0),
      earlier: (url) => [...(this.#lists.get(self)![1]?.owners(url, 0) ?? [])].slice(0, 2).filter(({ name }) => name !== self),
      isUnreachable: ({ name }) => !this.#reaches(self, name) || this.#doubted.has(`${self} ${name}`),
      call: async (member, step, signal) => {
        const call = ValueCall.decode(ValueCall.encode(ValueCall.fromPartial({ name: self, ...step })).finish());
        await this.#options.before?.(self, member.name, call);
        const answer = await reach(member).service.answer(call, signal);
        reach(member);
        if (!this.#running.has(self)) await new Promise(() => {});
        return ValueAnswer.decode(ValueAnswer.encode(answer).finish());
      },
      send: async (member, step, bytes, signal) => {
        const call = ValueCall.decode(ValueCall.encode(ValueCall.fromPartial({ name: self, ...step })).finish());
        await this.#options.before?.(self, member.name, call);
        const arriving = bytes instanceof Uint8Array ? Buffer.from(bytes) : this.#arriving(bytes, () => reach(member));
        const answer = await reach(member).service.answer(call, signal, arriving);
        reach(member);
        if (!this.#running.has(self)) await new Promise(() => {});
        return ValueAnswer.decode(ValueAnswer.encode(answer).finish());
      },
      open: async (members, { url, version, offset, length }, signal) => {
        const member = members.find(({ name }) => this.#reaches(self, name)) ?? members[0]!;
        const read = await reach(member).openHere({ url, version, offset, length, principal: ANONYMOUS, signal });
        if (read.length === 0) {
          read.close();
          throw outOfRange(url, offset, 0);
        }
        const next = async (): Promise<Slice | undefined> => {
          reach(member);
          return read.next();
        };
        const info = infoInHeaders(collectHeaders([entryHeader(read.info)]).headers)!;
        return { info, isLocal: false, offset, length: read.length, next, close: () => read.close() };
      },
      watch: async (member, request, onEvent, signal) => {
        const message = WatchValuesRequest.decode(WatchValuesRequest.encode(request).finish());
        const send = async (event: ValueEventMessage): Promise<void> => {
          onEvent(ValueEventMessage.decode(ValueEventMessage.encode(event).finish()));
        };
        await sendEvents(reach(member).service.monitors, message, send, signal);
      },
    };
  }
}

function membershipOf(names: readonly string[]): Membership {
  const members = names.map((name) => ({ name, grpcAddress: `${name}:1` }));
  return Membership.of(members, testGeometry.blockBytes);
}

function linkOf(one: string, other: string): string {
  return [one, other].sort().join(" ");
}
