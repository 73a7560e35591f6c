/**
 * New memory of large results. Fresh pages cost more than the bytes' way through the socket: the kernel clears each page when it is
 * first written. glibc returns large buffers to the kernel as soon as they are free, until the program has freed a larger one: then
 * it keeps up to twice the size of that one, and buffers that the garbage collector has freed are used again with their pages. The
 * largest buffer that counts is 32 MiB.
 *
 * The first large result therefore allocates a buffer of this size and drops it. No byte of it is written, so it costs no memory.
 * The results themselves are ordinary buffers, which callers may keep, slice and transfer.
 *
 * What remains in a process with a small heap are V8's collections of the whole heap, because it counts the bytes of buffers like those of
 * objects: beside 12 MB of objects, every third 16 MiB starts one; beside 90 MB, buffers that are dropped soon start none. Memory of
 * libraries does not help: V8 counts an ArrayBuffer over foreign memory alike, and a FinalizationRegistry learns of its end only after
 * such a collection. Sharing one ArrayBuffer among results would be needed, and a view of it could not be told from a dropped one.
 *
 * V8 does not count SharedArrayBuffers and resizable ArrayBuffers, but they are no ordinary buffers: `Response` refuses both, and a posted
 * SharedArrayBuffer is shared instead of copied. Collections of young objects that the program starts between reads make it worse: those
 * of the whole heap doubled, from 26 to 50 for 100 reads.
 */
const LARGE_BYTES = 1 << 20;
/** glibc's DEFAULT_MMAP_THRESHOLD_MAX on 64 bits, less its header and the rounding to pages. */
const DROPPED_BYTES = (32 << 20) - (64 << 10);

let hasDropped = false;

/** Returns a new buffer with undefined contents. */
export function newMemory(bytes: number): Buffer {
  if (bytes >= LARGE_BYTES && !hasDropped) {
    hasDropped = true;
    Buffer.allocUnsafeSlow(DROPPED_BYTES);
  }
  return Buffer.allocUnsafe(bytes);
}
