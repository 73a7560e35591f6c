/** Returns the byte at an offset of every test object: a ramp modulo a prime, so that any byte proves its offset. */
export function rampByte(offset: number): number {
  return offset % 251;
}

/** Returns the bytes `[offset, offset + length)` of every test object. */
export function ramp(offset: number, length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, at) => rampByte(offset + at)));
}
