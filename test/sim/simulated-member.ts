import type { MemberConnections } from "@frontcache/client/testing";
import { type MemberInfo, type MemberList, Membership, type ReadRangeRequest } from "@frontcache/proto";
import type { Origin } from "@frontcache/server";
import {
  ANONYMOUS,
  type BlockStore,
  buildTestMember,
  type Cache,
  Clients,
  type ComposedMember,
  cacheServiceHandlers,
  type ManualClock,
  type MemberView,
  type MemoryFaults,
  type MemoryObjects,
  MemoryOrigin,
  noLimits,
  noSecurity,
  type ObjectService,
  RunningCalls,
  silentLog,
  storageFaults,
  testPeer,
} from "@frontcache/server/testing";
import { HopWatch } from "./hop-watch.js";
import { simulatedConnections } from "./simulated-channels.js";
import type { SimulatedNetwork } from "./simulated-network.js";
import { atDistance, type OriginDistance } from "./simulated-origin.js";
import { cacheSettings, geometry, type LifeSettings, openStore, retrying } from "./simulated-parts.js";
import type { ProcessClock } from "./simulated-time.js";
import type { TroubledDisk } from "./troubled-disk.js";

/** Rules that a run breaks on purpose, to show that the model finds it. */
export interface BrokenRules {
  origin?(origin: Origin): Origin;
  read?(read: Cache["open"]): Cache["open"];
  /** Changes the calls that a member makes about objects. */
  objects?(calls: ObjectCalls, time: ManualClock): ObjectCalls;
  /** Changes how a member answers such calls. */
  service?(objects: ObjectService): ObjectService;
  /** Changes classes for the time of a run; the returned function puts them back. */
  patch?(time: ManualClock): () => void;
}

export type ObjectCalls = MemberConnections["objects"];

export interface MemberProcessOptions {
  readonly self: MemberInfo;
  readonly disk: TroubledDisk;
  readonly clock: ProcessClock;
  readonly network: SimulatedNetwork;
  readonly objects: MemoryObjects;
  readonly faults: MemoryFaults;
  readonly distance: () => OriginDistance;
  readonly settings: LifeSettings;
  readonly broken: BrokenRules;
}

/** As long as a real one's. */
const DRAIN_MS = 20_000;

/** One life of a simulated member: all that a real one is made of, on the simulation's ports. */
export class MemberProcess {
  readonly options: MemberProcessOptions;

  readonly calls = new RunningCalls();
  readonly clients: Clients;
  readonly #closing = new AbortController();
  readonly #member: ComposedMember;
  readonly #origin: MemoryOrigin;
  readonly #store: BlockStore;
  /** What its listeners serve. */
  readonly cache: Cache;
  /** What other members ask it about objects. */
  readonly #objects: ObjectService;
  readonly #hops = new HopWatch();

  private constructor(options: MemberProcessOptions, first: Membership, store: BlockStore) {
    this.options = options;
    const { self, clock, network, settings, broken } = options;
    this.clients = new Clients(noLimits, clock);
    const caller = { name: self.name, process: clock, onRead: (request: ReadRangeRequest) => this.#hops.sent(request) };
    this.#origin = new MemoryOrigin(options.objects, clock, 200, options.faults);
    this.#store = store;
    const { time, chance } = network;
    const connections = simulatedConnections(network, caller, clock);
    const calls = broken.objects?.(callsOf(connections.objects), time) ?? connections.objects;
    const origin = atDistance(this.#origin, { time, chance, process: clock, distance: options.distance });
    this.#member = buildTestMember({
      self,
      membership: first,
      mayHaveOthers: true,
      geometry,
      clock,
      store,
      origin: retrying(broken.origin?.(origin) ?? origin, clock),
      connections: { ...connections, objects: calls },
      settings: cacheSettings(settings),
      teeWritesBytes: settings.teeWritesBytes,
    });
    const { router, objects } = this.#member;
    this.#objects = broken.service?.(serviceOf(objects.service)) ?? objects.service;
    const routed: Cache["open"] = (request) => router.open(request);
    const open = broken.read?.(routed) ?? routed;
    this.cache = { open: (request) => this.#hops.watch(request, () => open(request)), ask: (question) => router.ask(question) };
  }

  get view(): MemberView {
    return this.#member.view;
  }

  /** Opens it on its disk, as that is, and listens. */
  static async start(options: MemberProcessOptions, members: MemberList): Promise<MemberProcess> {
    const { self, clock, disk, network, settings } = options;
    const store = await openStore(disk, clock, settings);
    const process = new MemberProcess(options, Membership.fromMessage(members), store);
    const handlers = cacheServiceHandlers({
      cache: () => process.cache,
      members: () => process.#member.router,
      objects: () => process.#objects,
      values: () => undefined,
      calls: process.calls,
      clients: process.clients,
      cutOff: () => {},
      // Only members call: the readers of the simulation ask the cache itself.
      callerOf: (call) => ({ principal: noSecurity.members.principalOf(testPeer()), peer: call.getPeer() }),
      authorization: noSecurity.authorization,
      refusals: noSecurity.members.refusals,
      closing: process.#closing.signal,
      clock,
      log: silentLog,
    });
    network.listen(self.grpcAddress, { name: self.name, process: clock, handlers });
    return process;
  }

  /** Evicts as a user's call has it. */
  evict(url: string): Promise<unknown> {
    const { signal } = new AbortController();
    return this.cache.ask({ kind: "evict", selector: { url }, forwarded: false, principal: ANONYMOUS, signal });
  }

  /** The valid lease that it holds of an object's record. */
  lease(url: string): { readonly info: { readonly version: string } | undefined } | undefined {
    return this.#member.objects.lease(url);
  }

  /** It hears of a new member list. */
  hear(members: MemberList): void {
    this.options.clock.deliver(() => this.#member.update(Membership.fromMessage(members, this.view.current)));
  }

  /** As `close` of a real one: no new calls, running ones end within their time, then everything is put down in order. */
  async leave(): Promise<void> {
    const { self, network, clock } = this.options;
    this.#member.objects.shutDown();
    network.leave(self.grpcAddress);
    this.#closing.abort();
    await Promise.race([this.calls.idle(), new Promise<void>((resolve) => clock.after(DRAIN_MS, resolve))]);
    await this.#member.close();
    network.remove(self.name, self.grpcAddress, false);
    await this.#store.close();
    clock.die();
  }

  /** It is gone from one moment to the next; what is on its disk stays. */
  die(silently: boolean): void {
    const { self, network, clock, disk } = this.options;
    clock.die();
    disk.crash();
    network.remove(self.name, self.grpcAddress, silently);
    // Reads in memory end with it. Its fills' promises stay open for ever, as its disk's do.
    void this.#member.local.close();
  }

  /** What is wrong with it at rest; empty where nothing is. */
  async faults(): Promise<string[]> {
    const { disk, clock } = this.options;
    const faults = [...(await storageFaults(this.#store, disk.files, geometry)), ...this.soFar()];
    const { fills, fillMemoryBytes, waitingParts } = this.#member.local.status();
    if (fills + fillMemoryBytes + waitingParts > 0) faults.push(JSON.stringify(this.#member.local.status()));
    if (this.#origin.open > 0) faults.push(`${this.#origin.open} answers of the origin are open`);
    if (this.calls.count > 0) faults.push(`${this.calls.count} calls run`);
    if (this.#hops.open > 0) faults.push(`${this.#hops.open} reads are open`);
    // A member that nobody asks anything has a timer of the purger, and one that notices standstills.
    if (clock.waits !== 2) faults.push(`${clock.waits} timers instead of 2`);
    return faults.map((fault) => `${this.options.self.name} at rest: ${fault}`);
  }

  /** What went wrong until now that may never happen, at rest or not. */
  soFar(): string[] {
    const { doubled } = this.#origin;
    return [...(doubled.length === 0 ? [] : [`fetched twice at a time: ${JSON.stringify(doubled)}`]), ...this.#hops.broken];
  }
}

/** The same calls as single functions, each of which can be replaced. */
function callsOf(objects: ObjectCalls): ObjectCalls {
  return {
    lookUpRecords: (address, request, onAnswer, limits) => objects.lookUpRecords(address, request, onAnswer, limits),
    renewLeases: (address, request, limits) => objects.renewLeases(address, request, limits),
    versionChanged: (address, urls, limits) => objects.versionChanged(address, urls, limits),
    handOver: (address, request, onRecord, limits) => objects.handOver(address, request, onRecord, limits),
  };
}

function serviceOf(objects: ObjectService): ObjectService {
  return {
    leaseToClient: (url, version) => objects.leaseToClient(url, version),
    lookUp: (request, report, signal) => objects.lookUp(request, report, signal),
    renew: (request) => objects.renew(request),
    versionChanged: (urls) => objects.versionChanged(urls),
    handOver: (request, send) => objects.handOver(request, send),
  };
}
