import { Readable } from "node:stream";
import { abortError, CacheError, outOfRange } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import { type BlockSpan, BufferLanding, PinnedObject } from "./members/block-landing.js";
import type { RunningCall } from "./members/running-call.js";
import type { CurrentVersion } from "./near/leased-versions.js";
import type { NearRange } from "./near/near-cache.js";
import { MOST_STARTS } from "./object-reads.js";
import { blockSpans, type ReadWith, readBlock } from "./read-block.js";
import { StreamMemory } from "./stream-memory.js";

/** A range to stream. */
export interface StreamedRange {
  readonly url: string;
  readonly offset: number;
  /** Bytes, at least 1; undefined: to the object's end. */
  readonly length: number | undefined;
  /** Empty: the current version. */
  readonly version: string;
}

/** A Readable whose chunks are Buffers. */
export interface ByteStream extends Readable {
  read(size?: number): Buffer | null;
  [Symbol.asyncIterator](): NodeJS.AsyncIterator<Buffer>;
}

/** Returns the chunks as a stream of the web platform. A chunk is requested when the reader asks for it. */
export function webStreamOf(stream: ByteStream): ReadableStream<Uint8Array> {
  const chunks = stream[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: () => void stream.destroy(),
    },
    { highWaterMark: 0 },
  );
}

/** The near cache, as streams use it. */
export interface NearReads {
  /** Returns the current version of the streamed object. `isAgain`: a version that was returned before is not current any more. */
  current(isAgain: boolean, call: RunningCall): Promise<CurrentVersion>;
  /** Reads a range of a version: fewer bytes if the object ends before. */
  read(range: NearRange, call: RunningCall): Promise<Buffer>;
}

/** The collaborators and limits of a stream. */
export interface StreamWith extends ReadWith {
  /** Concurrent blocks, including the one being consumed. */
  readonly streamBlocks: number;
  /** Timeout of each block's read, milliseconds. */
  readonly deadlineMs: number;
  /** A chunk is valid only until the next one is requested. */
  readonly reuse: boolean;
  /** Resolves when the members are known. Undefined: they are. */
  readonly ready?: Promise<void> | undefined;
  /** Undefined: all bytes come from the cluster. */
  readonly near?: NearReads | undefined;
}

/**
 * Streams a range in order and in one version. While one block is consumed, the next blocks are read ahead. Destroying the
 * stream, or breaking out of a `for await` loop, aborts the reads.
 */
export class RangeStream extends Readable {
  readonly #pieces: AsyncGenerator<Buffer, void>;
  readonly #call: RunningCall;
  #pulled: Promise<void> = Promise.resolve();

  /** The stream takes over `call` and ends it. */
  constructor(range: StreamedRange, using: StreamWith, call: RunningCall) {
    // Bytes read ahead wait in the blocks' buffers, not in the stream's buffer.
    super({ highWaterMark: 1 });
    this.#call = call;
    this.#pieces = pieces(range, using, call);
    whenAborted(call.signal, () => void this.destroy(abortError(call.signal)));
  }

  override _read(): void {
    this.#pulled = this.#pieces.next().then(
      ({ done, value }) => void (this.destroyed || this.push(done ? null : value)),
      (error: unknown) => void this.destroy(CacheError.from(error)),
    );
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#call.abort(new CacheError("CANCELLED", "the stream was closed"));
    void this.#pulled
      .then(() => this.#pieces.return())
      .catch(() => undefined)
      .then(() => callback(error));
  }
}

async function* pieces(range: StreamedRange, using: StreamWith, call: RunningCall): AsyncGenerator<Buffer, void> {
  const { url, version } = range;
  await using.ready;
  if (using.near === undefined || version !== "") yield* piecesOf(range, new PinnedObject(url, version), using, call);
  else yield* piecesOfCurrent(range, { ...using, near: using.near }, call);
}

/** Streams the version that is current, which the near cache needs to know first. If it has just been replaced, asks again. */
async function* piecesOfCurrent(
  range: StreamedRange,
  using: StreamWith & { readonly near: NearReads },
  call: RunningCall,
): AsyncGenerator<Buffer, void> {
  let isBegun = false;
  for (let starts = 1; ; starts++) {
    const asking = call.child(using.deadlineMs);
    const current = await using.near.current(starts > 1, asking).finally(() => asking.end());
    const pinned = new PinnedObject(range.url, current.version, current.objectSize);
    try {
      for await (const piece of piecesOf(range, pinned, using, call)) {
        isBegun = true;
        yield piece;
      }
      return;
    } catch (error) {
      const isOutdated = !isBegun && CacheError.from(error).code === "FAILED_PRECONDITION";
      if (!isOutdated || starts === MOST_STARTS) throw error;
    }
  }
}

async function* piecesOf(
  range: StreamedRange,
  pinned: PinnedObject,
  using: StreamWith,
  call: RunningCall,
): AsyncGenerator<Buffer, void> {
  const { url, offset, length = Math.max(1, Number.MAX_SAFE_INTEGER - offset) } = range;
  const spans = blockSpans(offset, length, using.owners.geometry);
  const parts = using.near === undefined ? spans : withEarlySpan(spans);
  const running = call.child();
  const memory = new StreamMemory(using.reuse);
  const turns = new Turns();
  const reading: StreamedPart[] = [];
  const readOn = (): void => {
    // Before the first response, the object's size and possibly its version are unknown.
    while (reading.length < (pinned.objectSize === undefined ? 1 : using.streamBlocks)) {
      const next = parts.next();
      if (next.done || next.value.offset >= (pinned.objectSize ?? Number.POSITIVE_INFINITY)) return;
      reading.push(new StreamedPart(next.value, { pinned, memory, turns, using }, running));
    }
  };
  try {
    if (pinned.objectSize !== undefined && offset >= pinned.objectSize) throw outOfRange(url, offset, pinned.objectSize);
    for (readOn(); reading.length > 0; readOn()) {
      for await (const piece of reading[0]!.pieces()) {
        readOn();
        yield piece;
      }
      memory.pass(reading.shift()!.memory);
    }
  } catch (error) {
    if (!isWholeOfEmptyObject(range, error)) throw error;
  } finally {
    running.abort(new CacheError("CANCELLED", `${url}: the stream was closed`));
    await Promise.all(reading.map((part) => part.finished));
  }
}

function isWholeOfEmptyObject({ offset, length }: StreamedRange, error: unknown): boolean {
  return offset === 0 && length === undefined && error instanceof CacheError && error.code === "OUT_OF_RANGE";
}

/** Bytes of a stream's first read through the near cache. Others are whole blocks, and return their bytes when all are read. */
const EARLY_BYTES = 1 << 20;

/** Divides the first span, so that its first bytes come soon. */
function* withEarlySpan(spans: Iterable<BlockSpan>): Generator<BlockSpan> {
  let isFirst = true;
  for (const span of spans) {
    const earlyBytes = EARLY_BYTES - (span.offset % EARLY_BYTES);
    if (isFirst && span.length > earlyBytes) {
      yield { ...span, length: earlyBytes };
      yield { ...span, offset: span.offset + earlyBytes, length: span.length - earlyBytes };
    } else yield span;
    isFirst = false;
  }
}

/** Lets the event loop run between reads that may copy whole blocks from memory. */
class Turns {
  #last: Promise<unknown> = Promise.resolve();

  next(): Promise<unknown> {
    this.#last = this.#last.then(() => new Promise((resolve) => setImmediate(resolve)));
    return this.#last;
  }
}

const NO_SOURCE = { resume: (): void => undefined };

/** Reads one block's span through the near cache, as a whole, because consumers may change bytes as soon as they have landed. */
async function readNear(landing: BufferLanding, near: NearReads, call: RunningCall): Promise<void> {
  const { url, version, objectSize } = landing.pinned;
  if (objectSize !== undefined) landing.open({ version, objectSize }, NO_SOURCE);
  const memory = objectSize === undefined ? undefined : landing.rest;
  let size = objectSize;
  const onSize = (bytes: number): void => {
    size = bytes;
  };
  const { offset, length } = landing.span;
  const bytes = await near.read({ url, version, offset, length: memory?.length ?? length, memory, onSize }, call);
  if (memory === undefined) {
    landing.open({ version, objectSize: size! }, NO_SOURCE);
    bytes.copy(landing.rest);
  }
  landing.landed(bytes.length);
}

/** State shared by the blocks of a stream. */
interface StreamState {
  readonly pinned: PinnedObject;
  readonly memory: StreamMemory;
  readonly turns: Turns;
  readonly using: StreamWith;
}

/** One block's span of a stream, read into its own buffer and consumed in chunks as they arrive. */
class StreamedPart {
  /** Resolves when the read has ended or failed. */
  readonly finished: Promise<void>;
  readonly #landing: BufferLanding;
  #memory: Buffer | undefined;
  #outcome: { readonly error?: unknown } | undefined;
  #wake: () => void = () => undefined;

  constructor(part: BlockSpan, { pinned, memory, turns, using }: StreamState, call: RunningCall) {
    const place = (bytes: number): Buffer => {
      this.#memory = memory.take(bytes);
      return this.#memory;
    };
    this.#landing = new BufferLanding(part, { pinned, place, mayBeLeft: true, onLanded: () => this.#wake() });
    const own = call.child(using.deadlineMs);
    const { near } = using;
    const read =
      near === undefined ? readBlock(this.#landing, using, own) : turns.next().then(() => readNear(this.#landing, near, own));
    this.finished = read.then(
      () => this.#finish(own, {}),
      (error: unknown) => this.#finish(own, { error }),
    );
  }

  /** The buffer of its bytes; undefined before the response begins. */
  get memory(): Buffer | undefined {
    return this.#memory;
  }

  /** Ends after the span. If the read failed, yields the bytes that arrived before and throws the error. */
  async *pieces(): AsyncGenerator<Buffer, void> {
    for (;;) {
      const piece = this.#landing.take();
      if (piece !== undefined) {
        yield piece;
      } else if (this.#outcome === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else {
        if ("error" in this.#outcome) throw this.#outcome.error;
        return;
      }
    }
  }

  #finish(own: RunningCall, outcome: { readonly error?: unknown }): void {
    own.end();
    this.#outcome = outcome;
    this.#wake();
  }
}
