/** The end of a chunk, or of a body before its trailers. */
const LINE_END = Buffer.from("\r\n");

/** Frames a body of unknown length in chunks of RFC 9112, one for each piece that has bytes. */
export async function* chunkedPieces(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const piece of pieces) {
    if (piece.length === 0) continue;
    yield Buffer.from(`${piece.length.toString(16)}\r\n`);
    yield piece;
    yield LINE_END;
  }
  yield Buffer.from("0\r\n\r\n");
}
