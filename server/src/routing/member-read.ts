import {
  type AnswerHead,
  type AnswerSource,
  BlockLanding,
  type CacheReport,
  type CallLimits,
  type Clock,
  PinnedObject,
  type ReadRequest,
  RunningCall,
  Unreachable,
} from "@frontcache/client/members";
import { CacheError, type ObjectInfo } from "@frontcache/proto";
import { type BlockRequest, describedBy } from "../cache/block-request.js";
import type { ObjectRead, ReadResult } from "../cache/object-read.js";
import { mostRequests } from "../origin/request-budget.js";
import type { Slice } from "../runtime/slice.js";
import type { RecentCallers } from "../security/recent-callers.js";
import { ObjectDescriptions } from "./object-descriptions.js";
import { type Piece, PiecePool } from "./piece-pool.js";
import { type Pipe, PipedSlice, type Pipes } from "./pipes.js";

/** How the bytes of a read are fetched. */
export interface Fetching {
  /** Fills the landing from other members. Rejects with Unreachable if none of them can be reached. */
  fetch(landing: BlockLanding, limits: CallLimits): Promise<void>;
  /** Called when the read is open. Absent: nothing is called. */
  opened?(info: ObjectInfo): void;
  /** Opens a read of the whole range, or of its rest, if no member can be reached. Absent: the read fails then. */
  resume?(rest: BlockRequest): ObjectRead | Promise<ObjectRead>;
}

/** Bytes that wait for a slow client; if there are more, the sender is paused. */
const WINDOW_BYTES = 512 << 10;

/** A read with at least so many missing bytes is moved through a pipe. Fewer bytes are copied. */
const PIPED_BYTES = 32 << 10;
/** If a read of a socket brings so many bytes, it has more, which are moved through a pipe. */
const PROBE_BYTES = 8 << 10;
/** Maximum bytes moved through pipes between two reads of a socket, in parts of at most 1 MiB: then the event loop continues. */
const MOST_DRAINS = 4;

/** A read after a member was lost to which a request had been sent: it may have made as many requests to the origin as it was allowed. */
const AFTER_LOSS = { isRepeated: true, budget: undefined } as const;

/** Why a call ends with a read whose client wants no more bytes. Made once. */
const CLOSED = new CacheError("CANCELLED", "the read was closed");

/** Reads from other members: the memory and the descriptions that they share. */
export class MemberReads {
  readonly clock: Clock;
  /** For whom reads are forwarded. */
  readonly callers: RecentCallers;
  readonly pool = new PiecePool();
  /** Undefined: all bytes pass through memory. */
  readonly pipes: Pipes | undefined;
  /** Whether the last call of any read's `next` took bytes in pipes. The first bytes of a read come before such a call. */
  mayPipe = false;
  readonly descriptions = new ObjectDescriptions();

  constructor(clock: Clock, callers: RecentCallers, pipes?: Pipes) {
    this.clock = clock;
    this.callers = callers;
    this.pipes = pipes;
  }

  /** Resolves with the head of the answer; rejects with what `fetch` rejects with before it, or with the signal's reason. */
  open(request: BlockRequest, fetching: Fetching): Promise<ObjectRead> {
    return new MemberRead(request, fetching, this).opened;
  }
}

/** A read that another member answers. Its bytes are handed out as they arrive; while they are not taken, the sender is paused. */
class MemberRead extends BlockLanding implements ObjectRead {
  readonly offset: number;
  readonly result: ReadResult = "forwarded";
  readonly opened: Promise<ObjectRead>;
  info!: ObjectInfo;
  length = 0;
  #head!: AnswerHead;
  readonly #request: BlockRequest;
  readonly #fetching: Fetching;
  readonly #reads: MemberReads;
  readonly #call: RunningCall;
  #source: AnswerSource | undefined;
  #isPaused = false;
  #wakesLater = false;
  /** Pieces with bytes that wait; the last one may be being filled. */
  readonly #pieces: Piece[] = [];
  #filling: Piece | undefined;
  #takenBytes = 0;
  /** Whether the last call of `next` takes bytes in pipes. Undefined: there was none. */
  #mayPipe: boolean | undefined;
  /** How often bytes may be moved through a pipe until the socket is read again. */
  #drainsLeft = MOST_DRAINS;
  /** Settle `opened`; undefined: it is settled. */
  #open: ((read: ObjectRead | Promise<ObjectRead>) => void) | undefined;
  #failToOpen: ((error: unknown) => void) | undefined;
  #waiting: { resolve: (slice: Slice | undefined) => void; reject: (error: unknown) => void } | undefined;
  /** The read of the bytes behind those of the members. */
  #rest: ObjectRead | undefined;
  #isOver = false;
  #failure: CacheError | undefined;
  #isClosed = false;

  constructor(request: BlockRequest, fetching: Fetching, reads: MemberReads) {
    const { ref, version, blockOffset, start, end, signal, deadlineAtMs } = request;
    super({ blockOffset, offset: blockOffset + start, length: end - start }, new PinnedObject(ref.url, version ?? ""));
    this.offset = blockOffset + start;
    this.#request = request;
    this.#fetching = fetching;
    this.#reads = reads;
    const { clock } = reads;
    const deadlineMs = deadlineAtMs === undefined ? undefined : Math.max(0, deadlineAtMs - clock.monotonicMs());
    this.#call = new RunningCall({ clock, subject: ref.url, signal, deadlineMs });
    this.opened = new Promise((resolve, reject) => {
      this.#open = resolve;
      this.#failToOpen = reject;
    });
    fetching.fetch(this, this.#call).then(
      () => this.#fetched(undefined),
      (error: unknown) => this.#fetched(CacheError.from(error)),
    );
  }

  get forwarded(): CacheReport | undefined {
    return this.#head.cached;
  }

  override nextRequest(): ReadRequest {
    const { version: required, cachedOnly, openEnded, isRepeated, budget } = this.#request;
    const { url, offset, length, version, repeated } = super.nextRequest();
    const isAgain = isRepeated === true || repeated === true;
    const onBehalfOf = this.#reads.callers.of(url);
    const of = { url, offset, length, version, forwarded: true, cachedOnly, openEnded, repeated: isAgain };
    const request = onBehalfOf === undefined ? of : { ...of, onBehalfOf };
    // The other member assumes as many as for any read. A repeated read is allowed fewer than are left here after the first request.
    const originRequests = isAgain ? undefined : budget?.left;
    return originRequests === undefined || originRequests >= mostRequests({ version: required })
      ? request
      : { ...request, originRequests };
  }

  override open(head: AnswerHead, source: AnswerSource): void {
    super.open(head, source);
    this.#source = source;
    if (this.#open === undefined) return;
    this.info = describedBy(this.#request, this.#reads.descriptions.of(this.#request.ref.url, head));
    this.#head = head;
    this.#fetching.opened?.(this.info);
    this.#open(this);
    this.#open = undefined;
  }

  room(): Buffer {
    if (this.#filling === undefined) {
      this.#filling = this.#reads.pool.take(this.length - this.landedBytes);
      this.#pieces.push(this.#filling);
    }
    return this.#filling.room;
  }

  override landed(bytes: number): boolean {
    const isPiping = this.isDrained;
    super.landed(bytes);
    const piece = this.#filling!;
    piece.filled(bytes);
    if (piece.isFull || this.complete) this.#filled();
    this.#drainsLeft = MOST_DRAINS;
    if (this.#waiting !== undefined) {
      if (piece.isFull || this.complete) this.#wake(false);
      else if (isPiping && bytes >= PROBE_BYTES) queueMicrotask(() => this.#wake(true));
      else this.#wakeLater();
    }
    // What follows the probe stays in the socket until it is asked for.
    const mostBytes = isPiping && this.#mayPipe === true && this.#waiting === undefined ? PROBE_BYTES : WINDOW_BYTES;
    this.#isPaused = this.landedBytes - this.#takenBytes >= mostBytes;
    return !this.#isPaused;
  }

  next(mayPipe = false): Slice | undefined | Promise<Slice | undefined> {
    this.#mayPipe = mayPipe;
    this.#reads.mayPipe = mayPipe;
    const slice = this.#take(mayPipe);
    if (slice !== undefined) {
      if (!this.isDrained && this.landedBytes - this.#takenBytes < WINDOW_BYTES) this.#unpause();
      return slice;
    }
    if (this.#rest !== undefined) return this.#rest.next(mayPipe);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#isClosed || this.#isOver || this.complete) return undefined;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#unpause();
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#rest?.close();
    // A call that has brought all bytes ends by itself, unless it is paused before its end. A member that is sent more than 33 resets of
    // streams a second closes the connection.
    if (this.complete) this.#unpause();
    else if (!this.#isOver) this.#call.abort(CLOSED);
    this.#waiting?.resolve(undefined);
    this.#waiting = undefined;
    // Without a transport that writes into them. Otherwise #end does it when that has stopped.
    if (this.#isOver) this.#dropPieces();
  }

  protected begin(totalBytes: number): void {
    this.length = totalBytes;
  }

  #unpause(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#source?.resume();
  }

  /** Whether the missing bytes are to be moved through pipes. */
  get isDrained(): boolean {
    return this.drainsLikely && this.length - this.landedBytes >= PIPED_BYTES && this.#source?.drain !== undefined;
  }

  /**
   * A response of this size is moved through a pipe, unless its connection has received all of it before its head was known. That
   * happens once: then the connection's next response is received in part (measured: 64 KiB cost 15 % less than by copies).
   */
  get drainsLikely(): boolean {
    return (this.#mayPipe ?? this.#reads.mayPipe) && this.length >= PIPED_BYTES && this.#reads.pipes?.available === true;
  }

  /** Nothing more comes from members. `thrown`: why the call failed. */
  #fetched(thrown: CacheError | undefined): void {
    this.#call.end();
    this.#filled();
    // A member may be lost between its last byte and the end of the call: nothing is missing.
    const failure = this.complete && thrown instanceof Unreachable ? undefined : thrown;
    const mayResume = failure instanceof Unreachable && this.#fetching.resume !== undefined && !this.#isClosed;
    if (!mayResume) this.#end(failure);
    else if (this.#open === undefined) void this.#resume();
    else if (this.#request.signal.aborted) this.#end(failure);
    else {
      this.#open(this.#openHere());
      this.#open = undefined;
    }
  }

  /** Rejects if no read can be opened. */
  async #openHere(): Promise<ObjectRead> {
    return this.#fetching.resume!(this.isRequested ? { ...this.#request, ...AFTER_LOSS } : this.#request);
  }

  /** Continues elsewhere behind the bytes that have landed. */
  async #resume(): Promise<void> {
    const { version } = this.info;
    const [start, end] = [this.#request.start + this.landedBytes, this.#request.start + this.length];
    try {
      const read = await this.#fetching.resume!({ ...this.#request, version, start, end, openEnded: false, ...AFTER_LOSS });
      if (this.#isClosed) read.close();
      else this.#rest = read;
      this.#end(undefined);
    } catch (error) {
      this.#end(CacheError.from(error));
    }
  }

  #end(failure: CacheError | undefined): void {
    this.#failure = failure;
    this.#isOver = true;
    if (this.#isClosed) this.#dropPieces();
    if (this.#open !== undefined && failure !== undefined) this.#failToOpen?.(failure);
    else this.#wake(false);
  }

  /** Resolves the waiting call of `next` with the bytes that have landed, or with those that follow. */
  #wake(mayDrain: boolean): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    const mayPipe = this.#mayPipe;
    // The transport calls `landed`, which must not drain.
    if (!mayDrain) this.#drainsLeft = 0;
    const next = this.next(mayPipe);
    if (next instanceof Promise) next.then(waiting.resolve, waiting.reject);
    else waiting.resolve(next);
  }

  /**
   * Resolves the waiting call of `next` when the event loop has read all that the sockets have. Each slice costs a write to the client's socket; with
   * a slice for each read of the member's socket, a forwarded read of 64 KiB cost 5.5 times the owner's CPU time.
   */
  #wakeLater(): void {
    if (this.#wakesLater) return;
    this.#wakesLater = true;
    setImmediate(() => {
      this.#wakesLater = false;
      if (this.#pieces[0]?.hasBytes === true) this.#wake(true);
    });
  }

  /** Nothing fills the piece any more. It is removed from the list with its last bytes. */
  #filled(): void {
    const piece = this.#filling;
    if (piece === undefined) return;
    this.#filling = undefined;
    if (piece.hasBytes) return;
    this.#pieces.pop();
    piece.release();
  }

  /** The bytes that wait in the first piece, and those behind them in a pipe; undefined: none. */
  #take(mayPipe: boolean): Slice | undefined {
    const piece = this.#pieces[0];
    const slice = piece?.hasBytes === true ? piece.slice() : undefined;
    if (piece !== undefined && slice !== undefined) {
      this.#takenBytes += slice.bytes.length;
      if (piece !== this.#filling) {
        this.#pieces.shift();
        piece.release();
      }
    }
    const piped = mayPipe && this.#takenBytes === this.landedBytes ? this.#drain() : undefined;
    return piped === undefined ? slice : new PipedSlice(slice, piped);
  }

  /** Moves the bytes that wait in the member's socket into a pipe; undefined: none. */
  #drain(): Pipe | undefined {
    if (this.#drainsLeft === 0 || this.#isClosed || !this.isDrained) return undefined;
    const pipe = this.#reads.pipes!.take();
    if (pipe === undefined) return undefined;
    const bytes = this.#source!.drain!(pipe.fill);
    if (bytes <= 0) {
      this.#drainsLeft = 0;
      pipe.release();
      return undefined;
    }
    this.#drainsLeft--;
    super.landed(bytes);
    this.#takenBytes += bytes;
    if (this.complete) this.#filled();
    return pipe;
  }

  #dropPieces(): void {
    for (const piece of this.#pieces.splice(0)) piece.release();
  }
}
