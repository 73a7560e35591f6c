import { MessageChannel } from "node:worker_threads";

const { port1: closed } = new MessageChannel();
closed.close();

/** Smaller memory is left to the garbage collector. */
const MIN_BYTES = 16 << 10;

/**
 * Frees the memory of bytes at once; they are empty from then on. Without it, V8 marks its whole heap whenever some dozen MiB of such
 * memory have become garbage: half of the CPU time of receiving a large body. No one may use the bytes any more, the kernel neither.
 *
 * A transfer to a closed port takes the memory out of this heap and drops it, as the standard of HTML requires.
 */
export function freeMemory(bytes: Uint8Array): void {
  const { buffer } = bytes;
  // Memory that is shared with other bytes is not freed.
  if (bytes.length < MIN_BYTES || bytes.length !== buffer.byteLength || !(buffer instanceof ArrayBuffer)) return;
  closed.postMessage(undefined, [buffer]);
}
