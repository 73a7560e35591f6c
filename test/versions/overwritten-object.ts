import { rampBytes, type S3Emulator } from "../emulators/s3.js";

/** One version of the object: a ramp, so that its first byte proves which one it is and where it begins. */
export interface Put {
  readonly version: string;
  readonly size: number;
  readonly seed: number;
  readonly atMs: number;
}

const MiB = 1 << 20;
const PERIOD = 251;

/** Every version is at least so large: reads that begin before it always get something. */
export const LEAST_BYTES = 5 * MiB;

/** An object that is overwritten again and again, and what it was when. Up to 251 versions can be distinguished. */
export class OverwrittenObject {
  readonly #origin: S3Emulator;
  readonly bucket: string;
  readonly key: string;

  readonly puts: Put[] = [];

  constructor(origin: S3Emulator, bucket: string, key: string) {
    this.#origin = origin;
    this.bucket = bucket;
    this.key = key;
  }

  get url(): string {
    return `s3://${this.bucket}/${this.key}`;
  }

  get current(): Put {
    return this.puts.at(-1)!;
  }

  /** Puts the next version, of another size. */
  overwrite(): void {
    const seed = this.puts.length % PERIOD;
    const size = LEAST_BYTES + ((this.puts.length * 700_001) % (2 * MiB));
    const version = this.#origin.putRamp(this.bucket, this.key, size, seed);
    this.puts.push({ version, size, seed, atMs: performance.now() });
  }

  put(version: string): Put {
    return this.puts.find((each) => each.version === version)!;
  }

  /** The version that an answer begins with. */
  beginningOf(bytes: Buffer, offset: number): Put | undefined {
    const seed = (((bytes[0]! - offset) % PERIOD) + PERIOD) % PERIOD;
    return this.puts.find((each) => each.seed === seed);
  }

  /** When a version was replaced; Infinity for the current one. */
  replacedAtMs(put: Put): number {
    return this.puts[this.puts.indexOf(put) + 1]?.atMs ?? Number.POSITIVE_INFINITY;
  }
}

/** Whether an answer to a range is whole and of this version alone. One that was cut off may be shorter. */
export function isWhollyOf(put: Put, bytes: Buffer, range: { offset: number; length: number }, brokenOff: boolean): boolean {
  const length = Math.min(range.length, put.size - range.offset);
  if (brokenOff ? bytes.length > length : bytes.length !== length) return false;
  return bytes.equals(rampBytes(range.offset, bytes.length, put.seed));
}
