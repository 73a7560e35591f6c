import type { OriginAnswer } from "./origin.js";

/**
 * All bytes of an answer, for tests. `onRead` is told of what each read brought, waited for, before the next one. Rejects as
 * the body does, and where it has more bytes than the answer says.
 */
export async function bytesOf({ body, length }: OriginAnswer, onRead: (bytes: Buffer) => unknown = () => {}): Promise<Buffer> {
  const all = Buffer.allocUnsafe(length + 1);
  let received = 0;
  for (;;) {
    const bytes = await body.read(all.subarray(received));
    if (bytes === 0) return all.subarray(0, received);
    received += bytes;
    if (received > length) throw new Error(`more than the ${length} bytes that the answer has`);
    await onRead(all.subarray(received - bytes, received));
  }
}

/** What one read of an answer brings, at most `mostBytes`, for tests; the answer stays open. */
export async function firstBytes({ body }: OriginAnswer, mostBytes: number): Promise<Buffer> {
  const memory = Buffer.allocUnsafe(mostBytes);
  return memory.subarray(0, await body.read(memory));
}
