import { newMemory } from "../result-memory.js";
import { PAGE_BYTES } from "./page-memory.js";

/** A range, and the pages of it that are not in memory. */
export interface TargetOptions {
  readonly offset: number;
  /** Bytes, at least 1. */
  readonly length: number;
  /** The result, at least `length` bytes; undefined: a new buffer. */
  readonly memory: Buffer | undefined;
  /** The first page that is read begins here. It is at most `offset` rounded down to a page, or after it. */
  readonly from: number;
  /** The last page ends here, or the object ends before. */
  readonly end: number;
  /** Undefined: it is not known yet. */
  readonly objectSize: number | undefined;
}

/** A page of which the range has only a part. */
interface Edge {
  readonly offset: number;
  memory: Buffer | undefined;
}

/**
 * The memory of a read that reads whole pages. Pages that lie in the range are read into the result itself; the first and the last one,
 * of which the range may have only a part, into a page of their own.
 */
export class PageTarget {
  readonly from: number;
  readonly end: number;
  readonly #offset: number;
  readonly #length: number;
  #result: Buffer | undefined;
  /** Whether the result is the caller's memory, which must not be written to when the read has ended. */
  readonly isCallers: boolean;
  readonly #edges: readonly Edge[];

  constructor({ offset, length, memory, from, end, objectSize }: TargetOptions) {
    this.from = from;
    this.end = end;
    this.#offset = offset;
    this.#length = length;
    this.#result = memory?.subarray(0, length);
    this.isCallers = memory !== undefined;
    const rangeEnd = offset + length;
    const edges = new Set<number>();
    if (from < offset) edges.add(from);
    if (rangeEnd < Math.min(end, objectSize ?? end)) edges.add(end - PAGE_BYTES);
    this.#edges = [...edges].map((at) => ({ offset: at, memory: undefined }));
  }

  /** Whether the result has memory already. */
  get isAllocated(): boolean {
    return this.#result !== undefined;
  }

  /** Returns the result for an object of this size, allocated if necessary. */
  result(objectSize: number): Buffer {
    const bytes = Math.max(0, Math.min(this.#length, objectSize - this.#offset));
    this.#result ??= newMemory(bytes);
    return this.#result.subarray(0, bytes);
  }

  /** Where the memory of bytes that begin at `offset` ends: there another one begins. */
  contiguousEnd(offset: number): number {
    let end = this.end;
    for (const edge of this.#edges) {
      if (edge.offset === offset) return offset + PAGE_BYTES;
      if (edge.offset > offset) end = Math.min(end, edge.offset);
    }
    return end;
  }

  /** Returns the memory of bytes from a page's beginning, which end at `contiguousEnd` or before. */
  place(offset: number, bytes: number, objectSize: number): Buffer {
    const edge = this.#edges.find((page) => page.offset === offset);
    if (edge !== undefined) {
      edge.memory ??= Buffer.allocUnsafe(PAGE_BYTES);
      return edge.memory.subarray(0, bytes);
    }
    const start = offset - this.#offset;
    return this.result(objectSize).subarray(start, start + bytes);
  }

  /**
   * Returns the end of the result from a page's beginning on, if all bytes from there belong in it. Undefined: they do not, or there is
   * no result yet.
   */
  rest(offset: number): Buffer | undefined {
    const isInResult = this.#edges.every((edge) => edge.offset < offset);
    return isInResult ? this.#result?.subarray(offset - this.#offset) : undefined;
  }

  /** Copies bytes that were read elsewhere into the result. */
  copy(bytes: Buffer, offset: number, objectSize: number): void {
    const start = Math.max(0, this.#offset - offset);
    if (start < bytes.length) bytes.copy(this.result(objectSize), Math.max(0, offset - this.#offset), start);
  }

  /** Copies the pages that `place` returned, and that end at `end` or before, into the result. */
  copyEdges(end: number, objectSize: number): void {
    for (const { offset, memory } of this.#edges) {
      if (memory === undefined || offset >= end) continue;
      this.copy(memory.subarray(0, Math.min(PAGE_BYTES, objectSize - offset)), offset, objectSize);
    }
  }
}
