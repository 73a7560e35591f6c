import type { OriginAnswer } from "../origin/origin.js";

/**
 * Receives all bytes of a response; calls `onLanded` for each received piece. Rejects if the body fails, or if it has
 * more bytes than announced.
 */
export async function bytesOf({ body, length }: OriginAnswer, onLanded: (piece: Buffer) => unknown = () => {}): Promise<Buffer> {
  const all = Buffer.allocUnsafe(length + 1);
  let received = 0;
  await body.land({
    room: () => all.subarray(received),
    landed: (bytes) => {
      received += bytes;
      if (received > length) throw new Error(`more than the announced ${length} bytes`);
      onLanded(all.subarray(received - bytes, received));
    },
  });
  return all.subarray(0, received);
}
