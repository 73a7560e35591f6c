import { type FileHandle, open } from "node:fs/promises";
import { CacheError } from "@frontcache/proto";

/** What `put` writes. A stream is read once, so it must not be used elsewhere. */
export type PutBody = string | Uint8Array | AsyncIterable<Uint8Array | string> | ReadableStream<Uint8Array> | PutFile;

/** A local file. */
export interface PutFile {
  readonly file: string;
}

/** The bytes of a write. */
export interface PutSource {
  /** Undefined: not known before its end. */
  readonly size: number | undefined;
  /** Cuts the bytes into parts of this length; the last one is shorter, and never empty. */
  parts(partBytes: number): AsyncIterable<Uint8Array>;
  /** Closes a file, and destroys a stream that was not read to its end. */
  close(): Promise<void>;
}

/** Opens what is to be written. Throws INVALID_ARGUMENT for anything else; the system's error if a file cannot be opened. */
export async function openSource(url: string, body: PutBody): Promise<PutSource> {
  if (typeof body === "string") return inMemory(Buffer.from(body));
  if (body instanceof Uint8Array) return inMemory(body);
  if (typeof body === "object" && body !== null) {
    if (Symbol.asyncIterator in body) return streamed(url, body);
    if ("file" in body && typeof body.file === "string") return await fromFile(body.file);
  }
  throw new CacheError("INVALID_ARGUMENT", `${url}: the body is of no known type: give bytes, text, a stream, or { file }`);
}

function inMemory(bytes: Uint8Array): PutSource {
  return {
    size: bytes.length,
    async *parts(partBytes) {
      for (let at = 0; at < bytes.length; at += partBytes) yield bytes.subarray(at, at + partBytes);
    },
    async close() {},
  };
}

function streamed(url: string, stream: AsyncIterable<Uint8Array | string>): PutSource {
  return {
    size: undefined,
    async *parts(partBytes) {
      let part: Buffer | undefined;
      let filled = 0;
      for await (const chunk of stream) {
        const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
        if (!(bytes instanceof Uint8Array)) throw new CacheError("INVALID_ARGUMENT", `${url}: the stream yields no bytes`);
        for (let at = 0; at < bytes.length; ) {
          part ??= Buffer.allocUnsafeSlow(partBytes);
          const taken = Math.min(partBytes - filled, bytes.length - at);
          part.set(bytes.subarray(at, at + taken), filled);
          filled += taken;
          at += taken;
          if (filled < partBytes) continue;
          yield part;
          part = undefined;
          filled = 0;
        }
      }
      if (part !== undefined) yield part.subarray(0, filled);
    },
    async close() {
      // A Node stream that was not read to its end would keep its file or socket.
      if ("destroy" in stream && typeof stream.destroy === "function") stream.destroy();
    },
  };
}

async function fromFile(path: string): Promise<PutSource> {
  const file = await open(path);
  try {
    const stat = await file.stat();
    // Pipes and devices have no size.
    if (!stat.isFile()) return { ...streamed(path, file.createReadStream()), close: () => file.close() };
    return { size: stat.size, parts: (partBytes) => partsOf(path, file, stat.size, partBytes), close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function* partsOf(path: string, file: FileHandle, size: number, partBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < size; at += partBytes) {
    const part = Buffer.allocUnsafeSlow(Math.min(partBytes, size - at));
    for (let filled = 0; filled < part.length; ) {
      const { bytesRead } = await file.read(part, filled, part.length - filled, at + filled);
      if (bytesRead === 0) throw new CacheError("INVALID_ARGUMENT", `${path}: the file became shorter while it was read`);
      filled += bytesRead;
    }
    yield part;
  }
}
