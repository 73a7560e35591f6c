import type { BodyPieces } from "./exchange.js";

/** The end of a chunk. */
const LINE_END = Buffer.from("\r\n");

/** Frames a body of unknown length in chunks of RFC 9112, one for each piece that has bytes. */
export function chunkedPieces(pieces: BodyPieces): BodyPieces {
  // The lines between the pieces are taken, too, but are not the body's.
  let framing = new WeakSet<Uint8Array>();
  const line = (text: string): Uint8Array => {
    const bytes = Buffer.from(text);
    framing.add(bytes);
    return bytes;
  };
  framing = framing.add(LINE_END);
  return {
    async *[Symbol.asyncIterator]() {
      for await (const piece of pieces) {
        if (piece.length === 0) continue;
        yield line(`${piece.length.toString(16)}\r\n`);
        yield piece;
        yield LINE_END;
      }
      yield line("0\r\n\r\n");
    },
    taken(piece) {
      if (!framing.has(piece)) pieces.taken?.(piece);
    },
  };
}
