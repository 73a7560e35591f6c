const PERIOD = 251;

/** Two periods, so that any period begins in the first one. */
const pattern = Buffer.from(Array.from({ length: 2 * PERIOD }, (_, i) => i % PERIOD));

/** Bytes `[offset, offset + length)` of an object whose byte i is i % 251. The period is prime, so it is aligned with no power of two. */
export function ramp(offset: number, length: number): Buffer {
  const start = offset % PERIOD;
  return Buffer.allocUnsafe(length).fill(pattern.subarray(start, start + PERIOD));
}
