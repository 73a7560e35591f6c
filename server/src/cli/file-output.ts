import { createWriteStream, statSync } from "node:fs";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** Sends a stream to standard output. A reader that has enough (`| head`) is no failure. */
export async function toStandardOutput(source: Readable, onBytes: (bytes: number) => void): Promise<void> {
  try {
    await pipeline(source, counting(onBytes), process.stdout, { end: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
}

/** Sends a stream to what exists and is no plain file: a device, a pipe. */
export async function toDevice(source: Readable, path: string, onBytes: (bytes: number) => void): Promise<void> {
  await pipeline(source, counting(onBytes), createWriteStream(path));
}

/** Whether something else than a plain file is there. */
export function isDevice(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === false;
}

/** Passes chunks on and tells how many bytes each has. */
function counting(onBytes: (bytes: number) => void) {
  return async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
    for await (const chunk of chunks) {
      yield chunk;
      onBytes(chunk.length);
    }
  };
}
