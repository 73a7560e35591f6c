import { createWriteStream, statSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

/** Sends a stream to standard output. A reader that has enough (`| head`) is no failure. */
export async function toStandardOutput(source: Readable): Promise<void> {
  try {
    await pipeline(source, process.stdout, { end: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
}

/**
 * Sends a stream to a file, which is there when all of it is, and not before: it is written beside it as `<path>.part`.
 * What exists and is no plain file (a device, a pipe) is written to directly. Rejects with the system's error.
 */
export async function toFile(source: Readable, path: string): Promise<void> {
  // Synchronously, for an error of the stream has nobody to hear it before the pipeline stands.
  const existing = statSync(path, { throwIfNoEntry: false });
  if (existing !== undefined && !existing.isFile()) return pipeline(source, createWriteStream(path));
  const part = `${path}.part`;
  try {
    await pipeline(source, createWriteStream(part));
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}
