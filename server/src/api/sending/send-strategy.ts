import { MESSAGE_BYTES } from "@frontcache/proto";
import type { Slice } from "../../runtime/slice.js";

/**
 * How the bytes of a slice leave. The sending engine asks for one strategy per slice and does what it says; a further way to send
 * (from the block's file, for example) is a further strategy here.
 */
export interface SendStrategy {
  /** Whether parts of large slices wait in the fair queue. */
  readonly queues: boolean;
  /**
   * Who copies the bytes out of the slice's memory: `nobody`, so that the sink uses that memory until it took the bytes; the
   * `engine`, before it writes; or the `sink`, before its `write` returns.
   */
  readonly copiedBy: "nobody" | "engine" | "sink";
  /** Whether unsent bytes occupy memory of this process, which the send buffer bounds. Mapped bytes don't. */
  readonly occupiesMemory: boolean;
  /** Bytes of the next part of a large slice, at most. `lastBytes`: of the part before, 0 for the first one of a read. */
  nextPart(lastBytes: number, isAlone: boolean): number;
}

/** Chooses the strategy for a slice. */
export type StrategyFor = (slice: Slice) => SendStrategy;

/**
 * Mapped memory is handed to the kernel in parts: 16 MiB at once would keep everything else waiting. Parts cost time, too, so
 * that each is twice as large as the one before, up to a bound. While others read, the first is small, because clients that
 * disconnect soon shall cost no more than that (measured: beside a crowd of them small reads took 1.9 and 2.8 times as long at
 * p99 as alone, 3.2 and 3.3 times with large first parts).
 */
const AMONG_OTHERS = { first: 64 << 10, most: 512 << 10 };

/**
 * While nobody else reads. Measured: beside another client's scan of 1 GiB/s small reads took 1.5 to 2.0 times as long at
 * p99 as alone; reads of 16 MiB one at a time were at 0.93 of raw TCP, with 2 MiB at most at 0.81.
 */
const ALONE = { first: 1 << 20, most: 4 << 20 };

/** Bytes that are copied at a time: scarce memory by the engine, everything by TLS. */
export const PIECE_BYTES = 128 << 10;

/** Hands memory to a plain socket as it is. */
const mappedParts: SendStrategy = {
  queues: true,
  copiedBy: "nobody",
  occupiesMemory: false,
  nextPart(lastBytes, isAlone) {
    const { first, most } = isAlone ? ALONE : AMONG_OTHERS;
    return Math.min(Math.max(first, 2 * lastBytes), most);
  },
};

/** TLS encrypts all of a part into memory at once, but may use the slice's memory until the part is written. */
const encryptedPieces: SendStrategy = {
  queues: true,
  copiedBy: "nobody",
  occupiesMemory: true,
  nextPart: () => PIECE_BYTES,
};

/** Copies memory that others wait for, so that a slow client can't keep it. */
const copiedPieces: SendStrategy = {
  queues: false,
  copiedBy: "engine",
  occupiesMemory: true,
  nextPart: () => PIECE_BYTES,
};

/** Messages of gRPC, which are serialized into the call's own buffers inside `write`. */
const messages: SendStrategy = {
  queues: true,
  copiedBy: "sink",
  occupiesMemory: true,
  nextPart: () => MESSAGE_BYTES,
};

/** For HTTP on plain sockets. */
export const plainSocket: StrategyFor = (slice) => (slice.scarce === true ? copiedPieces : mappedParts);

/** For HTTP over TLS. */
export const encryptedSocket: StrategyFor = (slice) => (slice.scarce === true ? copiedPieces : encryptedPieces);

/** For gRPC calls. */
export const grpcCall: StrategyFor = () => messages;
