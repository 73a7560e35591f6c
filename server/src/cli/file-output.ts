import { createWriteStream, statSync } from "node:fs";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** Writes a stream to standard output. A closed pipe (`| head`) is not an error. */
export async function toStandardOutput(source: Readable, onBytes: (bytes: number) => void): Promise<void> {
  try {
    await pipeline(source, counting(onBytes), process.stdout, { end: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
}

/** Writes a stream to an existing device or pipe. */
export async function toDevice(source: Readable, path: string, onBytes: (bytes: number) => void): Promise<void> {
  await pipeline(source, counting(onBytes), createWriteStream(path));
}

/** Whether the path exists and is not a regular file. */
export function isDevice(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === false;
}

/** Yields each chunk, then reports its size. */
function counting(onBytes: (bytes: number) => void) {
  return async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
    for await (const chunk of chunks) {
      yield chunk;
      onBytes(chunk.length);
    }
  };
}
