import { MESSAGE_BYTES } from "@frontcache/proto";
import type { Slice } from "../../runtime/slice.js";
import { TURN_BYTES } from "./fair-queue.js";

/**
 * How the bytes of a slice are sent. The sending engine gets one strategy per slice and follows it. Add a new way to send as a new
 * strategy here.
 */
export interface SendStrategy {
  /** Whether parts of large slices wait in the fair queue. */
  readonly queues: boolean;
  /** How many bytes of the fair queue's turn a byte takes. */
  readonly queueWeight: number;
  /**
   * Who copies the bytes out of the slice's memory: `nobody` (the sink uses this memory until the bytes are sent), the
   * `engine` (before it writes), the `sink` (before its `write` returns), or the `kernel` (which copies what
   * the socket takes; the engine copies the first bytes of the rest).
   */
  readonly copiedBy: "nobody" | "engine" | "sink" | "kernel";
  /** Whether the kernel sends the bytes from the slice's file. Bytes that it does not take are written from memory. */
  readonly isFromFile: boolean;
  /** Whether unsent bytes use memory of this process, which the send buffer limits. Mapped bytes do not. */
  readonly occupiesMemory: boolean;
  /**
   * Returns the maximum bytes of the next part of a large slice. `lastBytes`: bytes of the previous part, 0 for the first one.
   */
  nextPart(lastBytes: number, isAlone: boolean): number;
}

/** Selects the strategy for a slice. */
export type StrategyFor = (slice: Slice) => SendStrategy;

/**
 * Mapped memory is written in parts, because 16 MiB at once would delay everything else. Parts have overhead, so each part is
 * twice as large as the previous one, up to a limit. If others read too, the first part is small, because clients that disconnect
 * soon should cost little (measured: with many such clients, small reads took 1.9 and 2.8 times as long at p99 as on an idle
 * member; with large first parts 3.2 and 3.3 times).
 */
const AMONG_OTHERS = { first: 64 << 10, most: 512 << 10 };

/**
 * The limit if no other client reads. Measured: during another client's scan of 1 GiB/s, small reads took 1.5 to 2.0 times as
 * long at p99 as on an idle member; single reads of 16 MiB reached 0.93 of raw TCP, with a limit of 2 MiB 0.81.
 */
const ALONE = { first: 1 << 20, most: 4 << 20 };

/** Maximum bytes of a copy: of scarce memory by the engine, of all memory by TLS. */
export const PIECE_BYTES = 128 << 10;

/** Writes memory to a plain socket without a copy. */
const mappedParts: SendStrategy = {
  queues: true,
  queueWeight: 1,
  copiedBy: "nobody",
  isFromFile: false,
  occupiesMemory: false,
  nextPart(lastBytes, isAlone) {
    const { first, most } = isAlone ? ALONE : AMONG_OTHERS;
    return Math.min(Math.max(first, 2 * lastBytes), most);
  },
};

/** Slices from this size on are sent from their file. A copy of fewer bytes costs less than a second system call. */
export const FROM_FILE_BYTES = 16 << 10;

/** A part that fills a turn of the fair queue. It takes less time than a copy of half as many bytes. */
const FILE_PART_BYTES = 1 << 20;

/** The kernel sends pages of the file with sendfile(2), without a copy. A turn of the fair queue sends at most 1 MiB. */
const filePages: SendStrategy = {
  queues: true,
  queueWeight: TURN_BYTES / FILE_PART_BYTES,
  copiedBy: "nobody",
  isFromFile: true,
  occupiesMemory: false,
  nextPart: () => FILE_PART_BYTES,
};

/**
 * The kernel moves pages from another member's socket to the client's, through a pipe, with splice(2): without a copy. A pipe has at
 * most 1 MiB. Bytes that the client's socket does not take are copied, because pipes are few.
 */
const pipedPages: SendStrategy = {
  queues: true,
  queueWeight: TURN_BYTES / FILE_PART_BYTES,
  copiedBy: "engine",
  isFromFile: false,
  occupiesMemory: true,
  nextPart: () => Number.POSITIVE_INFINITY,
};

/** TLS encrypts a whole part into memory, but may use the slice's memory until the part is written. */
const encryptedPieces: SendStrategy = {
  queues: true,
  queueWeight: 1,
  copiedBy: "nobody",
  isFromFile: false,
  occupiesMemory: true,
  nextPart: () => PIECE_BYTES,
};

/** Copies scarce memory, so that a slow client cannot occupy it. */
const copiedPieces: SendStrategy = {
  queues: false,
  queueWeight: 1,
  copiedBy: "engine",
  isFromFile: false,
  occupiesMemory: true,
  nextPart: () => PIECE_BYTES,
};

/** The kernel copies scarce memory into the socket. Only bytes that it does not take are copied before, a few at a time. */
const sentPieces: SendStrategy = { ...copiedPieces, queues: true, copiedBy: "kernel" };

/** gRPC messages, which `write` serializes into the call's own buffers. */
const messages: SendStrategy = {
  queues: true,
  queueWeight: 1,
  copiedBy: "sink",
  isFromFile: false,
  occupiesMemory: true,
  nextPart: () => MESSAGE_BYTES,
};

/** For HTTP on plain sockets on which the kernel can send files: see DirectSocket. */
export const directSocket: StrategyFor = (slice) => {
  if (slice.piped !== undefined) return pipedPages;
  if (slice.bytes.length < FROM_FILE_BYTES) return plainSocket(slice);
  if (slice.scarce === true) return sentPieces;
  return slice.file !== undefined ? filePages : plainSocket(slice);
};

/** For HTTP on other plain sockets. */
export const plainSocket: StrategyFor = (slice) => (slice.scarce === true ? copiedPieces : mappedParts);

/** For HTTP over TLS. */
export const encryptedSocket: StrategyFor = (slice) => (slice.scarce === true ? copiedPieces : encryptedPieces);

/** For gRPC calls. */
export const grpcCall: StrategyFor = () => messages;
