import {
  type HandedOverRecord,
  type HandOverRequest,
  type Membership,
  recordFromMessage,
  recordToMessage,
} from "@frontcache/proto";
import { sleep, untilAborted } from "@frontcache/proto/runtime";
import type { LocalCache } from "../cache/local-cache.js";
import type { Clock } from "../runtime/clock.js";
import type { DecidedRecords } from "./decided-records.js";
import type { HomeChanges, TakeOver } from "./home-changes.js";
import type { Peers } from "./peers.js";

/** How often a member is asked to hand over, and how long a call may take. */
const EVERY_MS = 200;
const CALL_MS = 5_000;
/** A member that answers without confirming for so long has another list for good: a network partition. */
const WITHIN_MS = 60_000;
/** Records that are looked at, or sent, in one turn of the event loop. */
const RECORDS_AT_ONCE = 500;
/** Headers of the records in one message: gRPC's messages have at most 4 MiB. */
const HEADER_BYTES_AT_ONCE = 1 << 20;

export interface TakeOversOptions {
  readonly peers: Peers;
  readonly changes: HomeChanges;
  readonly decided: DecidedRecords;
  readonly records: LocalCache["records"];
  readonly clock: Pick<Clock, "monotonicMs" | "after">;
  /** Aborted when the member closes. */
  readonly signal: AbortSignal;
}

/** Objects on their way from the member that decided about them to their home: taken over by this member, or handed over. */
export class TakeOvers {
  readonly #options: TakeOversOptions;
  readonly #running = new Set<Promise<void>>();

  constructor(options: TakeOversOptions) {
    this.#options = options;
  }

  /** The member list has changed. */
  update(list: Membership): void {
    for (const takeOver of this.#options.changes.update(list)) this.#start(takeOver);
  }

  /** This member has started or stood still: what it knows counts as expired, and others may have decided in its place. */
  reset(): void {
    const { changes, records } = this.#options;
    records.expireAll();
    for (const takeOver of changes.reset()) this.#start(takeOver);
  }

  /** Resolves when nothing is left to take over. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /**
   * Another member takes over the objects whose home it has become. Resolves to whether this member has stopped deciding about
   * them; `send` gets the records first.
   */
  async handOver({ name, hash }: HandOverRequest, send: (records: HandedOverRecord[]) => Promise<void>): Promise<boolean> {
    const { changes, decided, records, peers, clock } = this.#options;
    const { current } = changes;
    if (hash !== current.hash || !changes.mayHandOver) return false;
    const isTheirs = (url: string): boolean => current.owner(url, 0)?.name === name;
    const known: HandedOverRecord[] = [];
    for await (const [url, { info, isBucketMissing = false, askedAtMs }] of inTurns([...records.entries()])) {
      if (!isTheirs(url) || !changes.decidedFor(name, url) || !Number.isFinite(askedAtMs)) continue;
      const ageMs = Math.max(0, Math.round(clock.monotonicMs() - askedAtMs));
      known.push({ key: url, record: info && recordToMessage(info), bucketMissing: isBucketMissing, ageMs });
    }
    if (hash !== changes.current.hash) return false;
    changes.handedOver(name);
    // It decides from here on. A circuit that is still open would have this member substitute for it.
    const home = current.member(name);
    if (home !== undefined) peers.heardOf(home);
    const revoked: (Promise<void> | undefined)[] = [];
    for await (const url of inTurns(decided.leased())) if (isTheirs(url)) revoked.push(decided.revoke(url));
    await Promise.all(revoked);
    for (const batch of batchesOf(known)) await send(batch);
    return true;
  }

  #start(takeOver: TakeOver): void {
    const running = this.#run(takeOver).catch(() => {});
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
  }

  /** Asks the member that decided before until it confirms, or is gone for so long that none of its leases is valid. */
  async #run(takeOver: TakeOver): Promise<void> {
    const { changes, records, clock, signal } = this.#options;
    const { from } = takeOver;
    const begunMs = clock.monotonicMs();
    const received = new Set<string>();
    while (!signal.aborted && clock.monotonicMs() - begunMs < WITHIN_MS) {
      try {
        const isConfirmed = await untilAborted(this.#ask(takeOver, received), signal);
        changes.answered(from.name);
        if (isConfirmed) break;
      } catch {
        if (changes.leasesLastMs(changes.isGone(from.name)) === 0) break;
      }
      await sleep(clock, EVERY_MS, signal);
    }
    // What this member knows of these objects may be older than what the other member knew.
    if (takeOver.before !== undefined) {
      for await (const [url] of inTurns([...records.entries()]))
        if (!received.has(url) && takeOver.covers(url)) records.expire(url);
    }
    changes.tookOver(takeOver);
  }

  async #ask({ from }: TakeOver, received: Set<string>): Promise<boolean> {
    const { peers, changes, records, clock, signal } = this.#options;
    const sentAtMs = clock.monotonicMs();
    // Ages count from when the other member sent them. Counting from before makes no record seem younger than it is.
    const onRecord = ({ key, record, bucketMissing, ageMs }: HandedOverRecord): void => {
      received.add(key);
      const info = record && recordFromMessage(record);
      records.observe(key, { info, isBucketMissing: bucketMissing, askedAtMs: sentAtMs - ageMs });
    };
    const call = peers.call(from.name, signal, CALL_MS);
    const request = { name: peers.self.name, hash: changes.current.hash };
    return peers.connections.objects.handOver(from, request, onRecord, call).finally(() => call.end());
  }
}

/** The items of a long list, a bounded number of them in one turn of the event loop. */
async function* inTurns<Item>(items: readonly Item[]): AsyncGenerator<Item> {
  let count = 0;
  for (const item of items) {
    if (++count % RECORDS_AT_ONCE === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    yield item;
  }
}

/** Records in batches that fit into one message each. */
function* batchesOf(records: readonly HandedOverRecord[]): Generator<HandedOverRecord[]> {
  let batch: HandedOverRecord[] = [];
  let headerBytes = 0;
  for (const each of records) {
    const bytes = each.record?.headers.length ?? 0;
    if (batch.length === RECORDS_AT_ONCE || (batch.length > 0 && headerBytes + bytes > HEADER_BYTES_AT_ONCE)) {
      yield batch;
      [batch, headerBytes] = [[], 0];
    }
    batch.push(each);
    headerBytes += bytes;
  }
  if (batch.length > 0) yield batch;
}
