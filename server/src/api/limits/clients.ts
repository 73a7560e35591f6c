import type { Clock } from "../../runtime/clock.js";
import { Busy } from "../call-status.js";
import { FairQueue, type QueueMember } from "../sending/fair-queue.js";
import { SendBuffer } from "../sending/send-buffer.js";

/** Limits for clients, over both listeners. */
export interface ClientLimits {
  readonly maxConnections: number;
  readonly maxClientConnections: number;
  readonly maxReads: number;
  readonly maxClientReads: number;
  readonly slowReaderBytes: number;
  /** Delay of the event loop above which new reads are rejected; Infinity: never. */
  readonly overloadMs: number;
}

/** Interval between measurements of the event-loop delay. */
const MEASURE_MS = 100;

/**
 * Number of measurements whose median determines overload. One or two late ticks, for example of a garbage collection, reject no
 * read. After an overload, reads are accepted again within three measurements.
 */
const MEASUREMENTS = 5;

/** A client: all connections and reads from one address. It is forgotten with its last connection. */
export class Client implements QueueMember {
  readonly clients: Clients;
  readonly address: string;

  queue: QueueMember["queue"] = [];
  connections = 0;
  reads = 0;

  constructor(clients: Clients, address: string) {
    this.clients = clients;
    this.address = address;
  }

  /** Sends a part of a large response when the fair queue selects this client. */
  enqueue(bytes: number, send: () => void): void {
    this.clients.fairQueue.enqueue(this, bytes, send);
  }

  /**
   * Begins a read, until `endRead`. Returns a retryable error if the read is rejected. Called for every read, so it must be
   * cheap.
   */
  beginRead(): Busy | undefined {
    const refused = this.clients.refusalFor(this);
    if (refused !== undefined) return refused;
    this.reads++;
    this.clients.reads++;
    this.clients.begunReads++;
    return undefined;
  }

  endRead(): void {
    this.reads--;
    this.clients.reads--;
  }
}

/** The clients of both listeners, with their usage and the fair queue. */
export class Clients {
  readonly #limits: ClientLimits;
  readonly #clock: Clock;

  readonly fairQueue = new FairQueue();
  readonly sendBuffer: SendBuffer;
  /** Number of running reads. */
  reads = 0;
  /** Number of reads since the start. */
  begunReads = 0;
  /** Numbers of rejections since the start. */
  refusedConnections = 0;
  refusedReads = 0;
  readonly #clients = new Map<string, Client>();
  #connections = 0;
  /** The latest measurements in milliseconds, the oldest first, and their median. */
  #delaysMs: number[] = Array.from({ length: MEASUREMENTS }, () => 0);
  #delayMs = 0;
  #cancelTimer: () => void = () => {};

  constructor(limits: ClientLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.sendBuffer = new SendBuffer(limits.slowReaderBytes);
    if (limits.overloadMs < Number.POSITIVE_INFINITY) this.#measureDelay(clock.monotonicMs());
  }

  /** Number of open connections. */
  get connections(): number {
    return this.#connections;
  }

  /** Counts a connection from an address, until `disconnected`. Returns undefined if it is over a limit and must be closed. */
  connected(address: string | undefined): Client | undefined {
    const known = this.of(address);
    const { maxConnections, maxClientConnections } = this.#limits;
    if (this.#connections >= maxConnections || known.connections >= maxClientConnections) {
      this.refusedConnections++;
      return undefined;
    }
    this.#clients.set(known.address, known);
    known.connections++;
    this.#connections++;
    return known;
  }

  disconnected(client: Client): void {
    this.#connections--;
    if (--client.connections === 0) this.#clients.delete(client.address);
  }

  /** Returns the client at an address. */
  of(address = ""): Client {
    return this.#clients.get(address) ?? new Client(this, address);
  }

  /** Returns the reason to reject a client's read. */
  refusalFor({ reads, address }: Client): Busy | undefined {
    const { maxReads, maxClientReads, overloadMs } = this.#limits;
    if (reads < maxClientReads && this.reads < maxReads && this.#delayMs <= overloadMs) return undefined;
    this.refusedReads++;
    const why =
      reads >= maxClientReads
        ? `${address} has ${reads} reads running (--max-client-reads)`
        : this.reads >= maxReads
          ? `${this.reads} reads are running (--max-reads)`
          : `its event loop is delayed by ${Math.round(this.#delayMs)} ms (--overload-after)`;
    return new Busy(why);
  }

  close(): void {
    this.#cancelTimer();
  }

  #measureDelay(dueMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    this.#delaysMs = [...this.#delaysMs.slice(1), nowMs - dueMs];
    this.#delayMs = this.#delaysMs.toSorted((a, b) => a - b)[MEASUREMENTS >> 1]!;
    this.#cancelTimer = this.#clock.after(MEASURE_MS, () => this.#measureDelay(nowMs + MEASURE_MS));
  }
}
