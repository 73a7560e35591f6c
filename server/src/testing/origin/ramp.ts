/** The period of test objects: a prime, so that it never coincides with block, segment or page boundaries. */
export const RAMP_PERIOD = 251;

/** Whole periods, so that copying from its beginning continues the ramp: 1,044,160 bytes. */
const PATTERN = Buffer.alloc(RAMP_PERIOD * 4160);
for (let at = 0; at < PATTERN.length; at++) PATTERN[at] = at % RAMP_PERIOD;

/** Returns the byte at `offset` of the ramp: (offset + seed) modulo 251. Any byte proves its offset. */
export function rampByte(offset: number, seed: number): number {
  return (offset + seed) % RAMP_PERIOD;
}

/** Returns a copy of `length` bytes of the ramp from `offset`. */
export function rampBytes(offset: number, length: number, seed: number): Buffer {
  const out = Buffer.allocUnsafe(length);
  fillWithRamp(out, offset, seed);
  return out;
}

/** Fills `memory` with the ramp from `offset`, by block copies. */
export function fillWithRamp(memory: Buffer, offset: number, seed: number): void {
  let at = 0;
  for (const chunk of rampChunks(offset, memory.length, seed, PATTERN.length)) at += chunk.copy(memory, at);
}

/** Yields the same bytes as views of one shared pattern, at most `chunkBytes` each and never empty. Do not write to them. */
export function* rampChunks(offset: number, length: number, seed: number, chunkBytes: number): Generator<Buffer> {
  const end = offset + length;
  for (let at = offset; at < end; ) {
    const phase = (at + seed) % RAMP_PERIOD;
    const chunk = PATTERN.subarray(phase, phase + Math.min(chunkBytes, end - at));
    yield chunk;
    at += chunk.length;
  }
}
