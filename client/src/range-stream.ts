import { Readable } from "node:stream";
import { abortError, CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import { type BlockSpan, BufferLanding, PinnedObject } from "./members/block-landing.js";
import type { RunningCall } from "./members/running-call.js";
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
  const { url, offset, version } = range;
  await using.ready;
  const pinned = new PinnedObject(url, version);
  const parts = blockSpans(offset, range.length ?? Math.max(1, Number.MAX_SAFE_INTEGER - offset), using.owners.geometry);
  const running = call.child();
  const memory = new StreamMemory(using.reuse);
  const reading: StreamedPart[] = [];
  const readOn = (): void => {
    // Before the first response, the object's size and possibly its version are unknown.
    while (reading.length < (pinned.objectSize === undefined ? 1 : using.streamBlocks)) {
      const next = parts.next();
      if (next.done || next.value.offset >= (pinned.objectSize ?? Number.POSITIVE_INFINITY)) return;
      reading.push(new StreamedPart(next.value, { pinned, memory, using }, running));
    }
  };
  try {
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

/** State shared by the blocks of a stream. */
interface StreamState {
  readonly pinned: PinnedObject;
  readonly memory: StreamMemory;
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

  constructor(part: BlockSpan, { pinned, memory, using }: StreamState, call: RunningCall) {
    const place = (bytes: number): Buffer => {
      this.#memory = memory.take(bytes);
      return this.#memory;
    };
    this.#landing = new BufferLanding(part, { pinned, place, mayBeLeft: true, onLanded: () => this.#wake() });
    const own = call.child(using.deadlineMs);
    this.finished = readBlock(this.#landing, using, own).then(
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
