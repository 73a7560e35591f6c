import type { OriginAnswer } from "./origin.js";

/** All bytes of an answer; copied, for the answer may use a chunk's memory again. Rejects with what cuts the body short. */
export async function bytesOf(answer: OriginAnswer): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer.body) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
