import { CacheError } from "@frontcache/proto";
import { type BlockSpan, BufferLanding, PinnedObject } from "./members/block-landing.js";
import type { RunningCall } from "./members/running-call.js";
import { blockSpans, type ReadWith, readBlock } from "./read-block.js";
import { newMemory } from "./result-memory.js";

/** A range to read into one buffer. */
export interface RequestedRange {
  readonly url: string;
  readonly offset: number;
  /** Bytes, at least 1. */
  readonly length: number;
  /** Empty: the current version. */
  readonly version: string;
  /** The target, exactly `length` bytes; undefined: a new buffer. */
  readonly memory?: Buffer | undefined;
  /** Called with the object's size before the result is complete. */
  readonly onSize?: ((objectSize: number) => void) | undefined;
}

/** The collaborators and limits of a range read. */
export interface RangeWith extends ReadWith {
  /** Concurrent blocks. */
  readonly parallelBlocks: number;
}

/**
 * The blocks of shorter ranges of a known version are requested concurrently. For a longer range, the first block's response
 * comes first and contains the object's size, so that no blocks past the end are requested.
 */
const ALL_AT_ONCE_BYTES = 64 << 20;

/**
 * Reads the range in one version: exactly `length` bytes, or fewer if the object ends first. Without a version, the first
 * response determines the version. If the object is overwritten meanwhile, the whole read is retried once.
 */
export async function readRange(range: RequestedRange, using: RangeWith, call: RunningCall): Promise<Buffer> {
  try {
    return await readOnce(range, using, call);
  } catch (error) {
    const overwritten = range.version === "" && error instanceof CacheError && error.code === "FAILED_PRECONDITION";
    if (!overwritten || call.ended !== undefined) throw error;
    return await readOnce(range, using, call);
  }
}

async function readOnce(range: RequestedRange, using: RangeWith, call: RunningCall): Promise<Buffer> {
  const parts = blockSpans(range.offset, range.length, using.owners.geometry);
  const landing = new RangeLanding(range);
  const { value: first } = parts.next();
  if (first?.length === range.length) await landing.read(first, using, call);
  else await readInParallel(range, landing, using, call);
  return landing.bytes();
}

/** Reads the spans of a range concurrently, until the object or the range ends. If one fails, the others are aborted. */
function readInParallel(range: RequestedRange, landing: RangeLanding, using: RangeWith, call: RunningCall): Promise<void> {
  const parts = blockSpans(range.offset, range.length, using.owners.geometry);
  return concurrently(call, async (running, readers) => {
    const read = async (): Promise<void> => {
      for (const part of parts) {
        if (landing.endsBefore(part)) return;
        await landing.read(part, using, running);
      }
    };
    readers.push(read());
    if (range.version === "" || range.length > ALL_AT_ONCE_BYTES) await Promise.race([landing.begun, readers[0]]);
    while (readers.length < using.parallelBlocks) readers.push(read());
  });
}

/** Waits for the readers that `begin` starts within a call of their own. If one fails, the others are aborted. */
export async function concurrently(
  call: RunningCall,
  begin: (running: RunningCall, readers: Promise<void>[]) => Promise<void>,
): Promise<void> {
  const running = call.child();
  const readers: Promise<void>[] = [];
  try {
    await begin(running, readers);
    await Promise.all(readers);
  } catch (error) {
    running.abort(CacheError.from(error));
    // The other reads still write into their buffers, so the call waits for them. Only reads that cannot be cancelled outlive it.
    await Promise.allSettled(readers);
    throw error;
  } finally {
    running.end();
  }
}

/** The one buffer that receives all spans of a range. It is allocated when the first response contains the object's size. */
class RangeLanding {
  /** Resolves with the head of the first response. */
  readonly begun: Promise<void>;
  readonly #range: RequestedRange;
  readonly #pinned: PinnedObject;
  #begin!: () => void;
  #whole: Buffer | undefined;
  #landedBytes = 0;

  constructor(range: RequestedRange) {
    this.#range = range;
    this.#pinned = new PinnedObject(range.url, range.version);
    this.begun = new Promise((resolve) => {
      this.#begin = resolve;
    });
  }

  /** Whether the object is known to end before a span. */
  endsBefore({ offset }: BlockSpan): boolean {
    return this.#pinned.objectSize !== undefined && offset >= this.#pinned.objectSize;
  }

  async read(part: BlockSpan, using: ReadWith, call: RunningCall): Promise<void> {
    const place = (bytes: number): Buffer => this.#place(part, bytes);
    const landing = new BufferLanding(part, { pinned: this.#pinned, place, mayBeLeft: this.#range.memory === undefined });
    try {
      await readBlock(landing, using, call);
    } catch (error) {
      // Requested before the object's end was known. The expected bytes are counted below.
      const behindEnd = error instanceof CacheError && error.code === "OUT_OF_RANGE" && part.offset > this.#range.offset;
      if (!behindEnd) throw error;
    }
    this.#landedBytes += landing.landedBytes;
  }

  /** Returns the whole result after every span was read. */
  bytes(): Buffer {
    const { url, offset } = this.#range;
    if (this.#whole === undefined || this.#landedBytes !== this.#whole.length) {
      const requested = this.#whole?.length ?? this.#range.length;
      throw new CacheError("INTERNAL", `${url} at offset ${offset}: ${this.#landedBytes} bytes arrived instead of ${requested}`);
    }
    return this.#whole;
  }

  #place(part: BlockSpan, bytes: number): Buffer {
    if (this.#whole === undefined) {
      this.#whole = allocate(this.#range, this.#pinned.objectSize!);
      this.#range.onSize?.(this.#pinned.objectSize!);
    }
    this.#begin();
    const start = part.offset - this.#range.offset;
    return this.#whole.subarray(start, start + bytes);
  }
}

function allocate({ url, offset, length, memory }: RequestedRange, objectSize: number): Buffer {
  const bytes = Math.min(length, objectSize - offset);
  if (memory !== undefined) return memory.subarray(0, bytes);
  try {
    return newMemory(bytes);
  } catch (cause) {
    throw new CacheError("INVALID_ARGUMENT", `${url}: ${bytes} bytes do not fit into one Buffer: read them by stream`, { cause });
  }
}
