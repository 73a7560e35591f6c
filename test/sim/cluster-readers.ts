import type { CacheClient } from "@frontcache/client";
import { clientOver, completeOptions, type MemberConnections, noObjectRequests } from "@frontcache/client/testing";
import { parseObjectUrl } from "@frontcache/proto";
import { ANONYMOUS } from "@frontcache/server/testing";
import { judgeHttp, versionOf, versionRequired } from "./http-answers.js";
import { type AskedRead, evidenceFrom, type HeldLease, ReadModel, type ReadOutcome } from "./read-model.js";
import { simulatedConnections } from "./simulated-channels.js";
import type { SimulatedCluster } from "./simulated-cluster.js";
import { askByHttp, type HttpAnswer, type HttpRequest } from "./simulated-http.js";
import type { MemberProcess } from "./simulated-member.js";
import { SERVICE } from "./simulated-network.js";
import { geometry } from "./simulated-parts.js";
import { ProcessClock } from "./simulated-time.js";
import { readSlowly } from "./slow-reader.js";
import type { VersionHistory } from "./version-history.js";

/** What to read. */
export interface Wanted {
  readonly url: string;
  /** Undefined: the current version. */
  readonly version: string | undefined;
  readonly offset: number;
  /** 0: to the object's end. */
  readonly length: number;
}

interface Running {
  readonly asked: AskedRead;
  readonly abort: AbortController;
  /** Who was asked; undefined: whoever the client chose. */
  readonly through: MemberProcess | undefined;
}

/** How a client of a member's listener takes the bytes. */
export interface Taking {
  readonly leavesAfter: number;
  readonly slowness: number;
}

const CLIENTS = 2;
/** Memory of a client's near cache: more than all objects have. */
const NEAR_BYTES = 1 << 20;

/** Users of a simulated cluster: through the HTTP listener of a member and by CacheClient. Every answer is judged by the model. */
export class ClusterReaders {
  readonly #cluster: SimulatedCluster;
  readonly #history: VersionHistory;

  readonly model: ReadModel;
  readonly #running = new Set<Running>();
  /** What ends reads that nobody judges, by the member that they are through. */
  readonly #endings = new Map<MemberProcess, Set<() => void>>();
  #warming = 0;
  #clients: { readonly client: CacheClient; readonly clock: ProcessClock }[] = [];

  constructor(cluster: SimulatedCluster, history: VersionHistory) {
    this.#cluster = cluster;
    this.#history = history;
    const { time, troubles, ages } = cluster;
    const { originTrouble, losses, partitions } = troubles;
    cluster.onDeath = (process) => {
      for (const end of this.#endings.get(process) ?? []) end();
      this.#endings.delete(process);
      for (const running of this.#running) if (running.through === process) this.#running.delete(running);
    };
    const nowMs = (): number => time.nowMs();
    const wallErrorMs = (): number => cluster.wallErrorMs;
    const leases = (url: string): HeldLease[] => cluster.leases(url);
    this.model = new ReadModel({ history, nowMs, ...ages, originTrouble, losses, partitions, wallErrorMs, leases });
  }

  get running(): number {
    return this.#running.size + this.#warming;
  }

  /** `hasNear`: clients keep bytes in near caches, and leases of versions. */
  async connect(hasNear: boolean): Promise<void> {
    const { network, time, chance } = this.#cluster;
    for (let index = 0; index < CLIENTS; index++) {
      const clock = new ProcessClock(time, chance);
      const connections = this.#noticed(simulatedConnections(network, { name: `client-${index}` }, clock));
      const near = hasNear ? { memory: NEAR_BYTES } : undefined;
      const options = completeOptions({ endpoint: SERVICE, parallelBlocks: 3, streamBlocks: 2, near });
      this.#clients.push({ client: await clientOver(options, { clock, connections, requests: noObjectRequests }), clock });
    }
  }

  /** Reads through one member, as a user of its cache. */
  throughMember(index: number, wanted: Wanted, how: Taking & { readonly cachedOnly: boolean }): void {
    const { process } = this.#cluster.servingAt(index) ?? {};
    if (process === undefined) return;
    const running = this.#begin(wanted, process, how.cachedOnly);
    const { url, version, offset, length } = wanted;
    const { signal } = running.abort;
    const range = { ref: parseObjectUrl(url), version, offset, length };
    const request = { ...range, forwarded: false, cachedOnly: how.cachedOnly, principal: ANONYMOUS, signal };
    const { clock } = process.options;
    const ended = process.calls.begin();
    const open = async () => {
      await clock.awake();
      const read = await process.cache.open(request);
      this.model.received(url, read.info.version, evidenceFrom(running.asked), running.asked.side);
      return read;
    };
    const reading = readSlowly(open, { clock, chance: this.#cluster.chance, signal, ...how });
    void this.#finish(running, reading.finally(ended));
  }

  /** Asks a member's S3 endpoint. */
  byHttp(index: number, url: string, request: HttpRequest, how: Taking): void {
    const { process } = this.#cluster.servingAt(index) ?? {};
    if (process === undefined) return;
    const running = this.#begin({ url, version: versionRequired(request), offset: 0, length: 0 }, process);
    const { asked } = running;
    const ended = process.calls.begin();
    const answering = askByHttp(process, parseObjectUrl(url), request, {
      ...how,
      chance: this.#cluster.chance,
      signal: asked.signal,
      onHead: (head) => {
        const version = head.status < 400 ? versionOf(head) : undefined;
        if (version !== undefined) this.model.received(url, version, evidenceFrom(asked), asked.side);
      },
    });
    void answering.finally(ended).then((answer: HttpAnswer) => {
      const left = asked.signal.aborted || (!answer.complete && answer.pieces >= how.leavesAfter);
      if (this.#running.delete(running)) judgeHttp({ model: this.model, history: this.#history }, request, asked, answer, left);
    });
  }

  /**
   * Asks for the record of an object, or for a byte of it, through the members in turn. Now and then a client knows of the current
   * version already: so the object's home soon learns of a change.
   */
  poll(url: string, time: number): void {
    const current = this.#history.current(url);
    const headers =
      time % 7 === 6 && current !== undefined
        ? { "if-match": `"${current.version}"` }
        : time % 3 === 0
          ? { range: "bytes=0-0" }
          : undefined;
    const request: HttpRequest = headers === undefined ? { method: "HEAD", headers: {} } : { method: "GET", headers };
    this.byHttp(time, url, request, { slowness: 0, leavesAfter: Number.POSITIVE_INFINITY });
  }

  /** Reads by CacheClient, at once or by stream. */
  byClient(index: number, wanted: Wanted, streamed: boolean): void {
    const { client, clock } = this.#clients[index % CLIENTS]!;
    const running = this.#begin(wanted, undefined);
    const reading =
      streamed || wanted.length === 0
        ? this.#stream(client, clock, wanted, running)
        : this.#range(client, wanted, running.abort.signal);
    void this.#finish(running, reading);
  }

  /** Reads without being judged: resolves with the error, if any, or when the member dies. Undefined: nobody serves. */
  readOnce(by: "member" | "client", index: number, wanted: Wanted): Promise<unknown> | undefined {
    const { url, version, offset, length } = wanted;
    const { signal } = new AbortController();
    if (by === "client") return this.#range(this.#clients[index % CLIENTS]!.client, wanted, signal).then(({ error }) => error);
    const { process } = this.#cluster.servingAt(index) ?? {};
    if (process === undefined) return undefined;
    const { clock } = process.options;
    const request = { ref: parseObjectUrl(url), version, offset, length, forwarded: false, cachedOnly: false };
    const open = () => process.cache.open({ ...request, principal: ANONYMOUS, signal });
    const how = { clock, chance: this.#cluster.chance, slowness: 0, leavesAfter: Number.POSITIVE_INFINITY, signal };
    const endings = this.#endings.get(process) ?? new Set();
    this.#endings.set(process, endings);
    const died = new Promise<void>((resolve) => endings.add(resolve));
    const reading = readSlowly(open, how).finally(process.calls.begin());
    return Promise.race([died, reading.then(({ error }) => error)]);
  }

  /** Asks for an object's record by CacheClient. */
  stat(index: number, url: string, version: string | undefined): void {
    const { client } = this.#clients[index % CLIENTS]!;
    const running = this.#begin({ url, version, offset: 0, length: 0 }, undefined);
    const { asked, abort } = running;
    client.stat(url, version, { signal: abort.signal }).then(
      (record) => {
        if (!this.#running.delete(running)) return;
        this.model.judgeRecord(asked, record);
        this.model.served++;
      },
      (error: unknown) => {
        const outcome = { bytes: Buffer.alloc(0), version: undefined, length: undefined, error };
        if (this.#running.delete(running)) this.model.judge(asked, outcome);
      },
    );
  }

  /** Has a client warm an object. That it could not be warmed is told and no failure. */
  warm(index: number, url: string): void {
    this.#warming++;
    const ended = (): void => {
      this.#warming--;
    };
    this.#clients[index % CLIENTS]!.client.warm([url]).then(ended, ended);
  }

  abortOne(): void {
    const all = [...this.#running];
    if (all.length > 0) this.#cluster.chance.pick(all).abort.abort();
  }

  /** What of the clients is left at rest. */
  faults(): string[] {
    const faults = [...this.model.broken];
    if (this.running > 0) faults.push(`${this.running} reads never ended`);
    for (const { clock } of this.#clients) if (clock.waits > 0) faults.push(`a client has ${clock.waits} timers at rest`);
    const { openCalls } = this.#cluster.network;
    if (openCalls !== this.#clients.length)
      faults.push(`${openCalls} calls are open at rest, not the ${this.#clients.length} of clients`);
    return faults;
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.splice(0).map(({ client }) => client.close()));
  }

  #begin({ url, version, offset, length }: Wanted, through: MemberProcess | undefined, cachedOnly = false): Running {
    const abort = new AbortController();
    const startedMs = this.#cluster.time.monotonicMs();
    const range = { offset, length: length === 0 ? Number.POSITIVE_INFINITY : length };
    const floor = this.model.floor(url);
    const side = through && this.#cluster.troubles.division?.sideOf(through.options.self.name, url);
    const asked = { url, version, ...range, startedMs, floor, cachedOnly, side, signal: abort.signal };
    const running = { asked, abort, through };
    this.#running.add(running);
    return running;
  }

  /** Every answer that a client's library gets counts as received, also where its read begins anew. */
  #noticed(connections: MemberConnections): MemberConnections {
    const { blocks } = connections;
    const read: MemberConnections["blocks"]["read"] = (address, target, limits) => {
      let url = "";
      const noticed: typeof target = {
        nextRequest: () => {
          const request = target.nextRequest();
          ({ url } = request);
          return request;
        },
        sent: () => target.sent(),
        open: (head, source) => {
          target.open(head, source);
          this.model.received(url, head.version);
        },
        room: () => target.room(),
        landed: (bytes) => target.landed(bytes),
      };
      return blocks.read(address, noticed, limits);
    };
    return { ...connections, blocks: { read, close: () => blocks.close() } };
  }

  async #finish(running: Running, reading: Promise<ReadOutcome>): Promise<void> {
    const outcome = await reading;
    if (this.#running.delete(running)) this.model.judge(running.asked, outcome);
  }

  async #range(client: CacheClient, { url, version, offset, length }: Wanted, signal: AbortSignal): Promise<ReadOutcome> {
    try {
      const bytes = await client.readRange(url, offset, length, version, { signal });
      return { bytes, version: undefined, length: undefined };
    } catch (error) {
      return { bytes: Buffer.alloc(0), version: undefined, length: undefined, error };
    }
  }

  async #stream(
    client: CacheClient,
    clock: ProcessClock,
    { url, version, offset, length }: Wanted,
    { abort }: Running,
  ): Promise<ReadOutcome> {
    const { chance } = this.#cluster;
    const pieces: Buffer[] = [];
    let error: unknown;
    try {
      const { signal } = abort;
      for await (const piece of client.stream(url, offset, length === 0 ? undefined : length, version, { signal })) {
        pieces.push(Buffer.from(piece));
        if (chance.happens(0.3)) await new Promise<void>((resolve) => clock.after(chance.below(30), resolve));
      }
    } catch (thrown) {
      error = thrown;
    }
    const outcome = { bytes: Buffer.concat(pieces), version: undefined, length: undefined };
    return error === undefined ? outcome : { ...outcome, error };
  }
}

/** How far reads reach: behind the end of every object. */
export const FURTHEST = 5 * geometry.blockBytes;
