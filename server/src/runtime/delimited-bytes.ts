/**
 * The bytes of a source up to a delimiter, in pieces. `first` precedes the source. Returns what has been received after the delimiter;
 * undefined: the source ended before it.
 */
export async function* untilDelimiter(
  source: AsyncIterator<Buffer>,
  first: Buffer,
  delimiter: Buffer,
): AsyncGenerator<Buffer, Buffer | undefined> {
  let received = first;
  for (;;) {
    const end = received.indexOf(delimiter);
    // What may be the beginning of a delimiter waits for the next bytes.
    const upTo = end >= 0 ? end : mayBegin(received, delimiter);
    if (upTo > 0) yield received.subarray(0, upTo);
    if (end >= 0) return received.subarray(end + delimiter.length);
    const { done, value } = await source.next();
    if (done === true) return undefined;
    received = upTo === received.length ? value : Buffer.concat([received.subarray(upTo), value]);
  }
}

/** The place in the last bytes from which on they are the beginning of a delimiter; without one, the end. */
function mayBegin(bytes: Buffer, delimiter: Buffer): number {
  const from = Math.max(0, bytes.length - delimiter.length + 1);
  for (let at = bytes.indexOf(delimiter[0]!, from); at >= 0; at = bytes.indexOf(delimiter[0]!, at + 1)) {
    if (delimiter.subarray(0, bytes.length - at).equals(bytes.subarray(at))) return at;
  }
  return bytes.length;
}
