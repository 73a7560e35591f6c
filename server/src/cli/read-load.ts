import { createHistogram } from "node:perf_hooks";
import { CacheError } from "@frontcache/proto";

/** An object to read, in one version. */
export interface LoadedObject {
  readonly url: string;
  readonly version: string;
  /** Bytes, at least 1. */
  readonly objectSize: number;
}

/** A load to generate. */
export interface Load {
  readonly objects: readonly LoadedObject[];
  /** Size of each read; shorter at the end of an object. */
  readonly sizeBytes: number;
  /** Concurrent reads. */
  readonly concurrency: number;
  /** No read starts after this time; running reads finish. */
  readonly durationMs: number;
  /** Reads once; resolves to the number of bytes read. */
  read(object: LoadedObject, offset: number, length: number): Promise<number>;
  /** If aborted, the load rejects. */
  readonly signal: AbortSignal;
}

/** The result of a load. Rates cover the time until the last read ended. Latencies are those of successful reads, to 0.1 %. */
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
  /** The error of the last failed read. */
  readonly lastError: CacheError | undefined;
}

/** Longer latencies count as this one: a minute, in microseconds. */
const LONGEST_US = 60_000_000;

/** Reads aligned ranges of the objects in random order, with a fixed concurrency, and measures. */
export async function readLoad({ objects, sizeBytes, concurrency, durationMs, read, signal }: Load): Promise<LoadReport> {
  const latencies = createHistogram({ lowest: 1, highest: LONGEST_US, figures: 3 });
  let [bytes, errors]: [number, number] = [0, 0];
  let lastError: CacheError | undefined;
  const beganMs = performance.now();
  const worker = async (): Promise<void> => {
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
  await Promise.all(Array.from({ length: concurrency }, worker));
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

/** Rounds to four digits; more are noise. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
