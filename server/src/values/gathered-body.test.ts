import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { received } from "../testing/received-body.js";
import { SentBody } from "../testing/value-bodies.js";
import { patterned } from "../testing/value-samples.js";
import type { BodyPieces } from "./body-tee.js";
import { GatheredBody } from "./gathered-body.js";
import { WHOLE_BYTES } from "./write-memory.js";

const URL = "cache://bucket/k";
const HALF = WHOLE_BYTES / 2;

function gathered(body: BodyPieces, size: number): GatheredBody {
  return new GatheredBody(URL, body, Buffer.alloc(size));
}

async function bytesOf(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe("a gathered body", () => {
  it.each([0, 1, 65_535, 65_536, 300_000, WHOLE_BYTES])(
    "of %d bytes is whole, and in pieces, as often as asked",
    async (size) => {
      const bytes = patterned(size);
      const sent = new SentBody();
      for (const body of [gathered(sent, size), gathered(received(bytes, 100_000), size)]) {
        for (let at = 0; at < size; at += 50_000) sent.send(bytes.subarray(at, at + 50_000));
        sent.end();
        const [one, other, whole] = await Promise.all([bytesOf(body), bytesOf(body), body.whole()]);
        for (const each of [one, other, whole, await bytesOf(body)]) expect(each.equals(bytes)).toBe(true);
      }
    },
  );

  it("has pieces that are sent on before the rest of the body has arrived", async () => {
    const bytes = patterned(WHOLE_BYTES);
    const sent = new SentBody();
    const pieces = gathered(sent, WHOLE_BYTES)[Symbol.asyncIterator]();
    sent.send(bytes.subarray(0, HALF));
    expect((await pieces.next()).value).toEqual(bytes.subarray(0, HALF));
    sent.send(bytes.subarray(HALF));
    sent.end();
    expect((await pieces.next()).value).toEqual(bytes.subarray(HALF));
    expect((await pieces.next()).done).toBe(true);
  });

  it.each([
    ["fails after its last byte", new CacheError("INVALID_ARGUMENT", "the checksum is wrong"), 0],
    ["has more bytes than announced", undefined, 1],
  ])("that %s never gives away its last piece", async (_, error, moreBytes) => {
    const bytes = patterned(WHOLE_BYTES + moreBytes);
    const sent = new SentBody();
    const body = gathered(sent, WHOLE_BYTES);
    sent.send(bytes.subarray(0, HALF));
    sent.send(bytes.subarray(HALF));
    sent.end(error);
    let found = 0;
    const all = (async () => {
      for await (const { length } of body) found += length;
    })();
    await expect(all).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(found).toBeLessThan(WHOLE_BYTES);
  });
});
