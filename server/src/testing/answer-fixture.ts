import type { OriginAnswer } from "../origin/origin.js";

/**
 * All bytes of an answer, for tests; `onLanded` is told of each piece as it lands. Rejects as the body does, and where it has
 * more bytes than the answer says.
 */
export async function bytesOf({ body, length }: OriginAnswer, onLanded: (piece: Buffer) => unknown = () => {}): Promise<Buffer> {
  const all = Buffer.allocUnsafe(length + 1);
  let received = 0;
  await body.land({
    room: () => all.subarray(received),
    landed: (bytes) => {
      received += bytes;
      if (received > length) throw new Error(`more than the ${length} bytes that the answer has`);
      onLanded(all.subarray(received - bytes, received));
    },
  });
  return all.subarray(0, received);
}
