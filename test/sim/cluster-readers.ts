import type { CacheClient } from "@frontcache/client";
import { clientOver, completeOptions } from "@frontcache/client/testing";
import { parseObjectUrl } from "@frontcache/proto";
import { ANONYMOUS } from "@frontcache/server/testing";
import { type AskedRead, ReadModel, type ReadOutcome } from "./read-model.js";
import { simulatedConnections } from "./simulated-channels.js";
import type { SimulatedCluster } from "./simulated-cluster.js";
import type { MemberProcess } from "./simulated-member.js";
import { SERVICE } from "./simulated-network.js";
import { geometry, NEGATIVE_TTL_MS, REVALIDATE_AFTER_MS } from "./simulated-parts.js";
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

const CLIENTS = 2;

/** Users of a simulated cluster: through the HTTP listener of a member and by CacheClient. Every answer is judged by the model. */
export class ClusterReaders {
  readonly #cluster: SimulatedCluster;

  readonly model: ReadModel;
  readonly #running = new Set<Running>();
  #warming = 0;
  #clients: { readonly client: CacheClient; readonly clock: ProcessClock }[] = [];

  constructor(cluster: SimulatedCluster, history: VersionHistory) {
    this.#cluster = cluster;
    const { time, originTrouble, losses } = cluster;
    cluster.onDeath = (process) => {
      for (const running of this.#running) if (running.through === process) this.#running.delete(running);
    };
    this.model = new ReadModel({
      history,
      nowMs: () => time.nowMs(),
      revalidateAfterMs: REVALIDATE_AFTER_MS,
      negativeTtlMs: NEGATIVE_TTL_MS,
      originTrouble,
      mayBeLost: ({ startedMs }) => losses.countDuring(startedMs, time.monotonicMs()) > 1,
      wallErrorMs: () => cluster.wallErrorMs,
    });
  }

  get running(): number {
    return this.#running.size + this.#warming;
  }

  async connect(): Promise<void> {
    const { network, time, chance } = this.#cluster;
    for (let index = 0; index < CLIENTS; index++) {
      const clock = new ProcessClock(time, chance);
      const connections = simulatedConnections(network, { name: `client-${index}` }, clock);
      const options = completeOptions({ endpoint: SERVICE, parallelBlocks: 3, streamBlocks: 2 });
      this.#clients.push({ client: await clientOver(options, { clock, connections }), clock });
    }
  }

  /** Reads through one member, as a user of its HTTP listener. */
  throughMember(index: number, wanted: Wanted, how: { cachedOnly: boolean; leavesAfter: number; slowness: number }): void {
    const { process } = this.#cluster.servingAt(index) ?? {};
    if (process === undefined) return;
    const running = this.#begin(wanted, how.cachedOnly, process);
    const { url, version, offset, length } = wanted;
    const { signal } = running.abort;
    const range = { ref: parseObjectUrl(url), version, offset, length };
    const request = { ...range, forwarded: false, cachedOnly: how.cachedOnly, principal: ANONYMOUS, signal };
    const { clock } = process.options;
    const ended = process.calls.begin();
    const reading = readSlowly(() => process.read(request), { clock, chance: this.#cluster.chance, signal, ...how });
    void this.#finish(running, reading.finally(ended));
  }

  /** Reads by CacheClient, at once or by stream. */
  byClient(index: number, wanted: Wanted, streamed: boolean): void {
    const { client, clock } = this.#clients[index % CLIENTS]!;
    const running = this.#begin(wanted, false, undefined);
    const reading =
      streamed || wanted.length === 0 ? this.#stream(client, clock, wanted, running) : this.#range(client, wanted, running);
    void this.#finish(running, reading);
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

  #begin({ url, version, offset, length }: Wanted, cachedOnly: boolean, through: MemberProcess | undefined): Running {
    const abort = new AbortController();
    const startedMs = this.#cluster.time.monotonicMs();
    const asked = { url, version, offset, length: length === 0 ? Number.POSITIVE_INFINITY : length, startedMs, cachedOnly };
    const running = { asked: { ...asked, signal: abort.signal }, abort, through };
    this.#running.add(running);
    return running;
  }

  async #finish(running: Running, reading: Promise<ReadOutcome>): Promise<void> {
    const outcome = await reading;
    if (this.#running.delete(running)) this.model.judge(running.asked, outcome);
  }

  async #range(client: CacheClient, { url, version, offset, length }: Wanted, { abort }: Running): Promise<ReadOutcome> {
    try {
      const bytes = await client.readRange(url, offset, length, version, { signal: abort.signal });
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
