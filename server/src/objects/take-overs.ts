import {
  CacheError,
  type HandedOverRecord,
  type HandOverRequest,
  type MemberInfo,
  type Membership,
  recordFromMessage,
  recordToMessage,
} from "@frontcache/proto";
import { sleep, untilAborted } from "@frontcache/proto/runtime";
import type { LocalCache } from "../cache/local-cache.js";
import type { Clock } from "../runtime/clock.js";
import { inTurns } from "../runtime/in-turns.js";
import type { DecidedRecords } from "./decided-records.js";
import type { HomeChanges, TakeOver } from "./home-changes.js";
import type { Peers } from "./peers.js";

/** How often a member is asked to hand over: at first more often, because most members have the new list by then. */
const SOON_MS = 50;
const SOON_FOR_MS = 500;
const EVERY_MS = 200;
/** When, and how often, a home that has not taken over is reminded. One that has noticed a change of the list takes over before. */
const REMIND_AFTER_MS = 1_000;
const REMIND_EVERY_MS = 5_000;
/** How long a call may take. */
const CALL_MS = 5_000;
/** A member that answers without confirming for so long has another list for good: a network partition. */
const WITHIN_MS = 60_000;
/** How often a member that has not confirmed is asked after that. */
const LATE_EVERY_MS = 5_000;
/** Records in one message. */
const RECORDS_AT_ONCE = 500;
/** The age of a record about which nothing is said: a member that does not know of writes asks the origin. */
const NO_RECORD_MS = 2 ** 40;
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
  /** Takeovers that have ended without a confirmation, while the other member may still decide, and reminders. */
  readonly #unconfirmed = new Set<Promise<void>>();
  /** Names of homes that are reminded to take over. */
  readonly #reminded = new Set<string>();

  constructor(options: TakeOversOptions) {
    this.#options = options;
  }

  /** The member list has changed. */
  update(list: Membership): void {
    const { changes, decided } = this.#options;
    for (const takeOver of changes.update(list)) this.#start(takeOver);
    for (const { name } of changes.retainedFor) if (!this.#reminded.has(name)) track(this.#unconfirmed, this.#remind(name));
    // If this member does not decide about an object any more, its leases end.
    void decided.release((url) => changes.decider(url) !== "here");
  }

  /** This member has started: what it knows counts as expired, and others may have decided about its objects. */
  started(): void {
    const { records, changes } = this.#options;
    records.expireAll();
    for (const takeOver of changes.started()) this.#start(takeOver);
  }

  /** This member stood still. As after a start; and members may have joined and taken over that it has not heard of. */
  stoodStill(): void {
    const { records, changes } = this.#options;
    changes.stoodStill();
    records.expireAll();
    for (const takeOver of changes.reset()) this.#start(takeOver);
  }

  /** Resolves when nothing is left to take over. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /**
   * Another member takes over the objects whose home it has become. Resolves to whether this member has stopped deciding about
   * them; `send` gets the records first:
   * 1. This member decides nothing about these objects from now on. Questions that wait for the origin are asked again of the new home.
   * 2. All leases of these objects end, those of older versions included.
   * 3. The writes that run, and what was observed until then of other objects, are sent, then the confirmation.
   * If the other member decides in place of a home that is gone, this one stops deciding about the objects of that home.
   */
  async handOver(
    { name, hash, home: gone, retains }: HandOverRequest,
    send: (records: HandedOverRecord[]) => Promise<void>,
  ): Promise<boolean> {
    const { changes, decided, records, peers, clock } = this.#options;
    const { current } = changes;
    if (hash === current.hash && retains === true) {
      const takeOver = changes.takeOverFrom(name);
      if (takeOver !== undefined) this.#start(takeOver);
    }
    if (hash !== current.hash || retains === true || !changes.mayHandOver) return false;
    if (gone !== "") {
      // The other member asks the origin before it decides: it needs no records.
      if (changes.released(gone)) await decided.release((url) => changes.decider(url) !== "here");
      return true;
    }
    const isTheirs = (url: string): boolean => current.owner(url, 0)?.name === name;
    const decidedUntilNow = changes.handedOver(name);
    // It decides from here on. A circuit that is still open would have this member substitute for it.
    const home = current.member(name);
    if (home !== undefined) peers.heardOf(home);
    await decided.release((url) => changes.decider(url) !== "here");
    const known: HandedOverRecord[] = decided.writing
      .of(isTheirs)
      .map(([key, writeIds]) => ({ key, record: undefined, bucketMissing: false, ageMs: NO_RECORD_MS, writeIds }));
    for await (const [url] of inTurns([...records.entries()])) {
      const observation = records.unexpired(url);
      if (observation === undefined || !Number.isFinite(observation.askedAtMs)) continue;
      if (!isTheirs(url) || !decidedUntilNow(url) || decided.writing.has(url)) continue;
      const { info, isBucketMissing = false, askedAtMs } = observation;
      const ageMs = Math.max(0, Math.ceil(clock.monotonicMs() - askedAtMs));
      known.push({ key: url, record: info && recordToMessage(info), bucketMissing: isBucketMissing, ageMs, writeIds: [] });
    }
    for (const batch of batchesOf(known)) await send(batch);
    return true;
  }

  /** Resolves when no call is on its way any more. Call it after the signal was aborted. */
  async closed(): Promise<void> {
    await this.settled();
    await Promise.all(this.#unconfirmed);
  }

  #start(takeOver: TakeOver): void {
    track(this.#running, this.#run(takeOver));
  }

  /** Asks the member that decided before until it confirms, or is gone for so long that none of its leases is valid. */
  async #run(takeOver: TakeOver): Promise<void> {
    const { changes, clock, signal } = this.#options;
    const { from } = takeOver;
    const begunMs = clock.monotonicMs();
    const received = new Set<string>();
    let isConfirmed = false;
    while (!signal.aborted && clock.monotonicMs() - begunMs < WITHIN_MS) {
      try {
        isConfirmed = await untilAborted(this.#ask(takeOver, received), signal);
        changes.answered(from.name);
        if (isConfirmed) break;
      } catch (error) {
        // A member that does not know this one as a member yet, because it has another list, decides until it does.
        if (CacheError.from(error).code === "PERMISSION_DENIED") changes.answered(from.name);
        else if (changes.leasesLastMs(changes.isGone(from.name)) === 0) break;
      }
      await sleep(clock, clock.monotonicMs() - begunMs < SOON_FOR_MS ? SOON_MS : EVERY_MS, signal);
    }
    await this.#expireOthers(takeOver, received);
    changes.tookOver(takeOver);
    if (!isConfirmed) track(this.#unconfirmed, this.#confirm(takeOver, begunMs));
  }

  /**
   * This member decides, but the member before did not confirm that it has stopped. It is asked until it does, or is not in the list:
   * 1. P decides about u. M joins, becomes the home of u, and cannot reach P: M takes over without a confirmation.
   * 2. M can reach P again. P has heard that M is the home, and decides until M has taken over, as far as P knows.
   */
  async #confirm(takeOver: TakeOver, begunMs: number): Promise<void> {
    const { changes, clock, signal } = this.#options;
    const { name, grpcAddress } = takeOver.from;
    const received = new Set<string>();
    // At another address it is another process.
    while (!signal.aborted && changes.current.member(name)?.grpcAddress === grpcAddress) {
      await sleep(clock, clock.monotonicMs() - begunMs < WITHIN_MS ? EVERY_MS : LATE_EVERY_MS, signal);
      if (!(await untilAborted(this.#ask(takeOver, received), signal).catch(() => false))) continue;
      await this.#expireOthers(takeOver, received);
      return;
    }
  }

  /**
   * Reminds a member to take over the objects about which this one decides, as long as it has not:
   * 1. All others see M leave the list and take over from it, after a while without its confirmation. M sees nothing of that.
   * 2. M returns to their lists. Each of them decides until M has taken over, as after a start.
   * 3. M does not take over, because its own list has not changed. It is told.
   */
  async #remind(name: string): Promise<void> {
    const { peers, changes, clock, signal } = this.#options;
    const retained = (): MemberInfo | undefined => changes.retainedFor.find((member) => member.name === name);
    this.#reminded.add(name);
    try {
      await sleep(clock, REMIND_AFTER_MS, signal);
      for (let home = retained(); home !== undefined; home = retained()) {
        const call = peers.call(name, signal, CALL_MS);
        const request = { name: peers.self.name, hash: changes.current.hash, home: "", retains: true };
        const asked = peers.connections.objects.handOver(home, request, () => {}, call).finally(() => call.end());
        await untilAborted(
          asked.catch(() => false),
          signal,
        );
        await sleep(clock, REMIND_EVERY_MS, signal);
      }
    } finally {
      this.#reminded.delete(name);
    }
  }

  /** What this member knows of objects that it did not receive may be older than what other members have handed out until now. */
  async #expireOthers(takeOver: TakeOver, received: ReadonlySet<string>): Promise<void> {
    const { records } = this.#options;
    for await (const [url] of inTurns([...records.entries()]))
      if (!received.has(url) && takeOver.covers(url)) records.expire(url);
  }

  async #ask({ from }: TakeOver, received: Set<string>): Promise<boolean> {
    const { peers, changes, decided, records, clock, signal } = this.#options;
    const sentAtMs = clock.monotonicMs();
    // Ages count from when the other member sent them. Counting from before makes no record seem younger than it is.
    const onRecord = ({ key, record, bucketMissing, ageMs, writeIds }: HandedOverRecord): void => {
      for (const id of writeIds) decided.writing.begun(key, id);
      if (writeIds.length > 0) return;
      received.add(key);
      const info = record && recordFromMessage(record);
      records.observe(key, { info, isBucketMissing: bucketMissing, askedAtMs: sentAtMs - ageMs });
    };
    const call = peers.call(from.name, signal, CALL_MS);
    const request = { name: peers.self.name, hash: changes.current.hash, home: "" };
    return peers.connections.objects.handOver(from, request, onRecord, call).finally(() => call.end());
  }
}

/** Keeps a promise in a set until it settles. A rejection means that the member closes. */
function track(among: Set<Promise<void>>, work: Promise<void>): void {
  const running = work.catch(() => {});
  among.add(running);
  void running.finally(() => among.delete(running));
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
