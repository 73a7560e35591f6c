/** The period of test objects: a prime, so that no block, segment or page boundary falls together with it. */
export const RAMP_PERIOD = 251;

/** Whole periods, so that copying from its beginning continues the ramp: 1,044,160 bytes. */
const PATTERN = Buffer.alloc(RAMP_PERIOD * 4160);
for (let at = 0; at < PATTERN.length; at++) PATTERN[at] = at % RAMP_PERIOD;

/** The byte at `offset` of the ramp: (offset + seed) modulo 251. Any byte proves where it belongs. */
export function rampByte(offset: number, seed: number): number {
  return (offset + seed) % RAMP_PERIOD;
}

/** A copy of `length` bytes of the ramp from `offset`. */
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

/** The same bytes as views of one shared pattern, at most `chunkBytes` each and never empty. Never write to them. */
export function* rampChunks(offset: number, length: number, seed: number, chunkBytes: number): Generator<Buffer> {
  const end = offset + length;
  for (let at = offset; at < end; ) {
    const phase = (at + seed) % RAMP_PERIOD;
    const chunk = PATTERN.subarray(phase, phase + Math.min(chunkBytes, end - at));
    yield chunk;
    at += chunk.length;
  }
}
