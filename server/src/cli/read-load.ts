import { createHistogram } from "node:perf_hooks";
import { CacheError } from "@frontcache/proto";

/** An object that is read, of one version. */
export interface LoadedObject {
  readonly url: string;
  readonly version: string;
  /** Bytes, at least 1. */
  readonly objectSize: number;
}

/** What a load is made of. */
export interface Load {
  readonly objects: readonly LoadedObject[];
  /** Of each read; shorter at an object's end. */
  readonly sizeBytes: number;
  /** Reads at a time. */
  readonly concurrency: number;
  /** No read begins later than this; those that run come to their end. */
  readonly durationMs: number;
  /** Reads once; resolves to the bytes that it brought. */
  read(object: LoadedObject, offset: number, length: number): Promise<number>;
  /** Aborted: the load ends early, by rejecting. */
  readonly signal: AbortSignal;
}

/** What came of a load. Rates are of the time until the last read ended; latencies are of reads that did not fail, to 0.1 %. */
export interface LoadReport {
  readonly reads: number;
  readonly errors: number;
  readonly seconds: number;
  readonly gigabytesPerSecond: number;
  readonly readsPerSecond: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** What the last failed read met. */
  readonly lastError: CacheError | undefined;
}

/** Longest latency that is told apart from longer ones: a minute, in microseconds. */
const LONGEST_US = 60_000_000;

/** Reads aligned ranges of the objects in random order, as many at a time as wanted, and counts. */
export async function readLoad({ objects, sizeBytes, concurrency, durationMs, read, signal }: Load): Promise<LoadReport> {
  const latencies = createHistogram({ lowest: 1, highest: LONGEST_US, figures: 3 });
  let [bytes, errors]: [number, number] = [0, 0];
  let lastError: CacheError | undefined;
  const beganMs = performance.now();
  const reader = async (): Promise<void> => {
    do {
      const object = objects[Math.floor(Math.random() * objects.length)]!;
      const offset = Math.floor(Math.random() * Math.ceil(object.objectSize / sizeBytes)) * sizeBytes;
      const askedMs = performance.now();
      try {
        const got = await read(object, offset, Math.min(sizeBytes, object.objectSize - offset));
        bytes += got;
        latencies.record(Math.min(LONGEST_US, Math.max(1, Math.round((performance.now() - askedMs) * 1e3))));
      } catch (error) {
        signal.throwIfAborted();
        errors++;
        lastError = CacheError.from(error);
      }
    } while (performance.now() - beganMs < durationMs);
  };
  await Promise.all(Array.from({ length: concurrency }, reader));
  const seconds = (performance.now() - beganMs) / 1e3;
  const ms = (microseconds: number): number => (latencies.count === 0 ? 0 : rounded(microseconds / 1e3));
  return {
    reads: latencies.count,
    errors,
    seconds: rounded(seconds),
    gigabytesPerSecond: rounded(bytes / 1e9 / seconds),
    readsPerSecond: rounded(latencies.count / seconds),
    p50Ms: ms(latencies.percentile(50)),
    p95Ms: ms(latencies.percentile(95)),
    p99Ms: ms(latencies.percentile(99)),
    maxMs: ms(latencies.max),
    lastError,
  };
}

/** To four digits: more are noise. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
