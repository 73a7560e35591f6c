/** A prime, so that no two ranges of a body that begin at different segments are equal. */
const PERIOD = 1_048_573;
const PATTERN = Buffer.alloc(2 * PERIOD);
for (let at = 0; at < PERIOD; at++) PATTERN[at] = (Math.imul(at + 1, 0x9e3779b1) >>> 16) & 0xff;
PATTERN.copy(PATTERN, PERIOD, 0, PERIOD);

/** Bytes of a body that is the same for the same seed. */
export function bodyRange(seed: number, start: number, end: number): Buffer {
  const pieces: Buffer[] = [];
  for (let at = start; at < end; ) {
    const from = (at + seed * 7_919) % PERIOD;
    const piece = PATTERN.subarray(from, from + Math.min(PERIOD, end - at));
    pieces.push(piece);
    at += piece.length;
  }
  return Buffer.concat(pieces);
}

const HEAD = /^value (\d+) of (\d+) bytes\n/;

/** A value that says which one it is. */
export function namedBody(seed: number, bytes: number): Buffer {
  const head = Buffer.from(`value ${seed} of ${bytes} bytes\n`);
  return Buffer.concat([head, bodyRange(seed, 0, bytes)]);
}

/** Whether bytes are exactly one whole value. */
export function isNamedBody(found: Buffer): boolean {
  const match = HEAD.exec(found.toString("latin1", 0, 64));
  return match !== null && found.equals(namedBody(Number(match[1]), Number(match[2])));
}
