import { CacheError } from "@frontcache/proto";
import { freeMemory } from "../../../runtime/free-memory.js";
import type { ReceivedPieces } from "../../../writes/payload.js";
import type { HttpContext, Upload } from "../../http/http-context.js";

/** A client that sends nothing for so long has failed. S3's limit. */
const IDLE_MS = 20_000;
/** Bytes that may wait for whoever reads them. Then the client is made to wait. */
const QUEUED_BYTES = 512 << 10;
/** Bytes that were received into memory are returned after so long, although more fit. */
const GATHER_MS = 5;

/** The bytes of a body as they arrive. */
export type ReceivedBytes = ReceivedPieces & Required<Pick<ReceivedPieces, "receive">>;

/**
 * The bytes of a body as they arrive. The client is asked for them when the first one is read. Throws S3's error if the client stops
 * sending, and CANCELLED if it disconnects. The memory of pieces is freed when later ones were taken.
 */
export function receivedBytes(upload: Upload, { clock }: Pick<HttpContext, "clock">): ReceivedBytes {
  return new ArrivingBody(upload, clock);
}

class ArrivingBody implements ReceivedBytes, AsyncIterableIterator<Buffer> {
  readonly #upload: Upload;
  readonly #clock: HttpContext["clock"];
  /** Each piece that was given out, until its memory is freed. */
  readonly #used: Buffer[] = [];
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  /** The piece that was received into memory in part, from an offset on. */
  #rest: { readonly piece: Buffer; readonly at: number } | undefined;
  /** Where the next bytes go, and how many bytes of it are filled; undefined: to the queue. */
  #target: Uint8Array | undefined;
  #filled = 0;
  /** The bytes in the target are returned with the next ones. */
  #isDue = false;
  #state: "new" | "arriving" | "ended" = "new";
  #isOver = false;
  #failure: CacheError | undefined;
  #movedAtMs = 0;
  #isWaiting = false;
  #wake: () => void = () => {};
  #cancelWatch: () => void = () => {};

  constructor(upload: Upload, clock: HttpContext["clock"]) {
    this.#upload = upload;
    this.#clock = clock;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Buffer>> {
    this.#begin();
    for (;;) {
      const bytes = this.#takeQueued();
      if (bytes !== undefined) {
        if (bytes.at === 0) this.#used.push(bytes.piece);
        return { done: false, value: bytes.at === 0 ? bytes.piece : bytes.piece.subarray(bytes.at) };
      }
      if (this.#isAtEnd()) return { done: true, value: undefined };
      await this.#wait();
    }
  }

  async return(): Promise<IteratorResult<Buffer>> {
    this.#end();
    return { done: true, value: undefined };
  }

  async receive(target: Uint8Array): Promise<number> {
    this.#begin();
    [this.#target, this.#filled, this.#isDue] = [target, 0, false];
    while (this.#filled < target.length) {
      const bytes = this.#takeQueued();
      if (bytes === undefined) break;
      this.#filled += this.#copy(bytes.piece, bytes.at, target, this.#filled);
    }
    if (this.#mustWait) {
      const cancel = this.#clock.after(GATHER_MS, () => {
        this.#isDue = true;
        this.#wake();
      });
      while (this.#mustWait) await this.#wait();
      cancel();
    }
    this.#target = undefined;
    if (this.#filled === 0 && target.length > 0) this.#isAtEnd();
    return this.#filled;
  }

  taken({ buffer }: Uint8Array): void {
    // Pieces are taken in order. A piece may be a part of one that was received, or have been made anew.
    const at = this.#used.findIndex((each) => each.buffer === buffer);
    for (let freed = 0; freed < at; freed++) freeMemory(this.#used.shift()!);
  }

  #begin(): void {
    if (this.#state !== "new") return;
    this.#state = "arriving";
    const { body, proceed } = this.#upload;
    if (body.readableEnded) this.#isOver = true;
    else if (body.destroyed) this.#onClose();
    body.on("data", this.#onData).on("end", this.#onEnd).on("error", this.#onClose).on("close", this.#onClose);
    this.#watch(IDLE_MS);
    proceed?.();
  }

  #end(): void {
    const { body } = this.#upload;
    if (this.#state === "arriving") {
      this.#cancelWatch();
      body.off("data", this.#onData).off("end", this.#onEnd).off("close", this.#onClose);
      if (!this.#isOver) body.pause();
    }
    this.#state = "ended";
  }

  get #hasEnded(): boolean {
    return this.#isOver || this.#failure !== undefined || this.#state === "ended";
  }

  /** Whether more bytes are to follow in the target. */
  get #mustWait(): boolean {
    if (this.#hasEnded || this.#target === undefined || this.#filled === this.#target.length) return false;
    return this.#filled === 0 || !this.#isDue;
  }

  /** Returns whether the body has ended, and stops receiving then. Throws why it failed. Call it when nothing is queued. */
  #isAtEnd(): boolean {
    if (!this.#hasEnded) return false;
    this.#end();
    if (!this.#isOver && this.#failure !== undefined) throw this.#failure;
    return true;
  }

  async #wait(): Promise<void> {
    [this.#isWaiting, this.#movedAtMs] = [true, this.#clock.monotonicMs()];
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#isWaiting = false;
  }

  /** Returns the oldest bytes that nobody has. */
  #takeQueued(): { readonly piece: Buffer; readonly at: number } | undefined {
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) return rest;
    const piece = this.#queue.shift();
    if (piece === undefined) return undefined;
    this.#queuedBytes -= piece.length;
    if (this.#queuedBytes < QUEUED_BYTES && this.#upload.body.isPaused()) this.#upload.body.resume();
    return { piece, at: 0 };
  }

  /** Copies a piece, from an offset on, to where it goes. Returns how many bytes fit. */
  #copy(piece: Buffer, from: number, target: Uint8Array, at: number): number {
    const bytes = Math.min(piece.length - from, target.length - at);
    target.set(from === 0 && bytes === piece.length ? piece : piece.subarray(from, from + bytes), at);
    if (from + bytes < piece.length) this.#rest = { piece, at: from + bytes };
    else freeMemory(piece);
    return bytes;
  }

  readonly #onData = (piece: Buffer): void => {
    const target = this.#target;
    if (target !== undefined && this.#filled < target.length) {
      this.#movedAtMs = this.#clock.monotonicMs();
      this.#filled += this.#copy(piece, 0, target, this.#filled);
      if (this.#filled === target.length || this.#isDue) this.#wake();
      return;
    }
    this.#queue.push(piece);
    this.#queuedBytes += piece.length;
    if (this.#queuedBytes >= QUEUED_BYTES) this.#upload.body.pause();
    this.#wake();
  };

  readonly #onEnd = (): void => {
    this.#isOver = true;
    this.#wake();
  };

  readonly #onClose = (cause?: Error): void => {
    this.#cancelWatch();
    // Each body is closed after its end, too.
    if (!this.#isOver) {
      this.#failure ??= new CacheError("CANCELLED", "the client disconnected before the end of its body", { cause });
    }
    this.#wake();
  };

  /** One timer for the whole body: it looks at when something arrived. */
  #watch(afterMs: number): void {
    this.#cancelWatch = this.#clock.after(afterMs, () => {
      const leftMs = this.#isWaiting ? this.#movedAtMs + IDLE_MS - this.#clock.monotonicMs() : IDLE_MS;
      if (leftMs > 0) return this.#watch(leftMs);
      const message = `The client sent nothing for ${IDLE_MS} ms.`;
      this.#failure ??= new CacheError("DEADLINE_EXCEEDED", message, { s3Code: "RequestTimeout" });
      this.#wake();
    });
  }
}
