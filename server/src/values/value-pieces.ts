import { CacheError, outOfRange, type ValueEntry } from "@frontcache/proto";
import type { KnownEntry } from "./value-entries.js";
import type { ValueHolder } from "./value-holder.js";

/** Bytes of a value from an offset, for another member. */
export interface ValuePiece {
  readonly entry: ValueEntry;
  readonly data: Uint8Array;
  /** No bytes follow. */
  readonly ended: boolean;
  /** Bytes of the value that have arrived. */
  readonly size: number;
}

export interface PieceRequest {
  readonly url: string;
  /** Empty: the newest one. */
  readonly version: string;
  readonly offset: number;
  readonly most: number;
  /** Reads a value that is being written, too, and waits for its bytes. */
  readonly follow: boolean;
}

/** Reads bytes of a value, of a version that was replaced a moment ago, or of one that is being written. */
export async function readPiece(
  holder: ValueHolder,
  { url, version, offset, most, follow }: PieceRequest,
  signal: AbortSignal,
): Promise<ValuePiece> {
  for (;;) {
    const known = holder.readable(url);
    if (known !== undefined && (version === "" || version === known.entry.version)) {
      const { entry } = known;
      if (follow && offset === entry.size) return { entry, data: new Uint8Array(), ended: true, size: entry.size };
      return readKnown(holder, known, offset, most);
    }
    const retired = holder.retired.use(url, version);
    if (retired !== undefined) return readKnown(holder, retired, offset, most);
    const { drafts } = holder;
    const draft = follow ? (version === "" ? drafts.writerOf(url) : drafts.get(url, version)) : undefined;
    // A read that has begun was told that there is a value.
    if (draft === undefined && version !== "" && offset > 0) throw replaced(url);
    if (draft === undefined) throw new CacheError("NOT_FOUND", `${url}: no such value`);
    const { entry, end } = draft;
    if (end instanceof CacheError) throw writerDied(url);
    const { isSized } = draft.options;
    if (isSized && offset >= entry.size && entry.size > 0) throw outOfRange(url, offset, entry.size);
    const data = end === undefined ? await draft.segments.read(offset, most) : undefined;
    const size = isSized ? entry.size : draft.segments.spans.bytes;
    if (data !== undefined) return { entry, data, ended: false, size };
    if (version === "") return { entry, data: new Uint8Array(), ended: false, size };
    if (draft.end === undefined) await draft.changed(signal);
    if (draft.end === "ready" && holder.readable(url)?.entry.version !== version) throw replaced(url);
    if (draft.end instanceof CacheError) throw writerDied(url);
  }
}

async function readKnown(holder: ValueHolder, known: KnownEntry, offset: number, most: number): Promise<ValuePiece> {
  const { entry, stored } = known;
  const { url, size } = entry;
  if (size === 0 && offset === 0) return { entry, data: new Uint8Array(), ended: true, size };
  if (offset >= size) throw outOfRange(url, offset, size);
  const { blocks } = holder;
  const { blockBytes } = blocks.geometry;
  const pieces: Uint8Array[] = [];
  const end = Math.min(size, offset + most);
  for (let at = offset; at < end; ) {
    const index = Math.floor(at / blockBytes);
    const pin = blocks.pin(url, stored, index);
    const start = index * blockBytes;
    const slice = await pin?.read(at - start, Math.min(blockBytes, end - start));
    if (slice !== undefined) pieces.push(Buffer.from(slice.bytes));
    slice?.release();
    pin?.release();
    if (slice === undefined) {
      holder.lose(known);
      throw new CacheError("UNAVAILABLE", `${url}: bytes of the value are gone at this member`);
    }
    at += slice.bytes.length;
  }
  return { entry, data: Buffer.concat(pieces), ended: end === size, size };
}

function replaced(url: string): CacheError {
  return new CacheError("UNAVAILABLE", `${url}: the value was replaced while it was read: read again`);
}

function writerDied(url: string): CacheError {
  return new CacheError("UNAVAILABLE", `${url}: its writer has ended early`);
}
