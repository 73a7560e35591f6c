import type { Clock } from "../../runtime/clock.js";
import { Busy } from "../call-status.js";
import { FairQueue, type QueueMember } from "../sending/fair-queue.js";
import { SendBuffer } from "../sending/send-buffer.js";

/** What clients may take of a member, both listeners together. */
export interface ClientLimits {
  readonly maxConnections: number;
  readonly maxClientConnections: number;
  readonly maxReads: number;
  readonly maxClientReads: number;
  readonly slowReaderBytes: number;
  /** How late the event loop may be before new reads are refused; Infinity: as late as it likes. */
  readonly overloadMs: number;
}

/** How often it is looked how late the event loop is. */
const LOOK_MS = 100;

/** One client: everything that comes from one address. It is forgotten with its last connection. */
export class Client implements QueueMember {
  queue: QueueMember["queue"] = [];
  connections = 0;
  reads = 0;

  constructor(
    readonly clients: Clients,
    readonly address: string,
  ) {}

  /** Sends a part of a large answer when the fair queue comes to this client. */
  enqueue(bytes: number, send: () => void): void {
    this.clients.fairQueue.enqueue(this, bytes, send);
  }

  /**
   * A read begins; returns why it must not, a retryable error, or undefined. `endRead` ends it. Costs nothing: it stands
   * before every read.
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

/** The clients of both listeners: how much each of them takes, and whose turn it is. */
export class Clients {
  readonly fairQueue = new FairQueue();
  readonly sendBuffer: SendBuffer;
  /** Reads that run. */
  reads = 0;
  /** Reads that ever began. */
  begunReads = 0;
  /** What was sent away since the start. */
  refusedConnections = 0;
  refusedReads = 0;
  readonly #clients = new Map<string, Client>();
  #connections = 0;
  #lateMs = 0;
  #cancelTimer: () => void = () => {};

  constructor(
    private readonly limits: ClientLimits,
    private readonly clock: Clock,
  ) {
    this.sendBuffer = new SendBuffer(limits.slowReaderBytes);
    if (limits.overloadMs < Number.POSITIVE_INFINITY) this.#look(clock.monotonicMs());
  }

  /** Connections that stand. */
  get connections(): number {
    return this.#connections;
  }

  /** A connection from an address; undefined: it must be closed, there are too many. `disconnected` ends it. */
  connected(address: string | undefined): Client | undefined {
    const known = this.of(address);
    const { maxConnections, maxClientConnections } = this.limits;
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

  /** The client at an address. */
  of(address = ""): Client {
    return this.#clients.get(address) ?? new Client(this, address);
  }

  /** Why a client's read must not begin now. */
  refusalFor({ reads, address }: Client): Busy | undefined {
    const { maxReads, maxClientReads, overloadMs } = this.limits;
    if (reads < maxClientReads && this.reads < maxReads && this.#lateMs <= overloadMs) return undefined;
    this.refusedReads++;
    const why =
      reads >= maxClientReads
        ? `${address} has ${reads} reads running (--max-client-reads)`
        : this.reads >= maxReads
          ? `${this.reads} reads are running (--max-reads)`
          : `it is ${Math.round(this.#lateMs)} ms late with everything (--overload-after)`;
    return new Busy(why);
  }

  close(): void {
    this.#cancelTimer();
  }

  #look(dueMs: number): void {
    const nowMs = this.clock.monotonicMs();
    this.#lateMs = nowMs - dueMs;
    this.#cancelTimer = this.clock.after(LOOK_MS, () => this.#look(nowMs + LOOK_MS));
  }
}

/** Limits that are never reached. */
export const noLimits: ClientLimits = {
  maxConnections: Number.POSITIVE_INFINITY,
  maxClientConnections: Number.POSITIVE_INFINITY,
  maxReads: Number.POSITIVE_INFINITY,
  maxClientReads: Number.POSITIVE_INFINITY,
  slowReaderBytes: Number.POSITIVE_INFINITY,
  overloadMs: Number.POSITIVE_INFINITY,
};
