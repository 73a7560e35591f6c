import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { patterned } from "../testing/value-samples.js";
import { Payload, type ReceivedPieces } from "./payload.js";

const bytes = patterned(10_000);

/** A body that can be received into memory. */
function receivable(sent: Buffer): ReceivedPieces {
  let at = 0;
  return {
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error("its pieces are not read")) }),
    receive: async (target) => {
      const copied = sent.copy(target, 0, at);
      at += copied;
      return copied;
    },
  };
}

function payloadOf(sent: Buffer, headers: Record<string, string>): ReceivedPieces {
  return new Payload({
    headers: { "content-length": String(bytes.length), ...headers },
    bytes: receivable(sent),
    signatures: undefined,
  }).pieces(async () => {});
}

async function received({ receive }: ReceivedPieces): Promise<Buffer> {
  const target = Buffer.alloc(3_000);
  const all: Buffer[] = [];
  for (let count = await receive!(target); count > 0; count = await receive!(target)) {
    all.push(Buffer.from(target.subarray(0, count)));
  }
  return Buffer.concat(all);
}

describe("a body that is received into memory", () => {
  const digest = (of: Buffer): string => createHash("md5").update(of).digest("base64");

  it("is given to the caller if its checksum is that of the bytes", async () => {
    expect((await received(payloadOf(bytes, { "content-md5": digest(bytes) }))).equals(bytes)).toBe(true);
  });

  it.each([
    ["its checksum is another one", bytes, { "content-md5": digest(Buffer.from("x")) }, "BadDigest"],
    ["it is shorter than announced", bytes.subarray(1), {}, "IncompleteBody"],
    ["it is longer than announced", Buffer.concat([bytes, bytes]), {}, "IncompleteBody"],
  ])("fails before its end if %s", async (_, sent, headers, s3Code) => {
    await expect(received(payloadOf(sent, headers))).rejects.toMatchObject({ s3Code });
  });

  it("is read in pieces if it is framed in chunks", () => {
    const headers = {
      "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
      "x-amz-trailer": "x-amz-checksum-crc32",
      "x-amz-decoded-content-length": String(bytes.length),
    };
    expect(payloadOf(bytes, headers).receive).toBeUndefined();
  });
});
