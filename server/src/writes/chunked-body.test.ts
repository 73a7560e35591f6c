import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { Signer } from "../security/signatures/signer.js";
import { ChunkedBody, type ChunkedFraming } from "./chunked-body.js";

/** The key and the time of the examples in S3's documentation. */
const IDENTITY = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const SCOPE = { region: "us-east-1", service: "s3" };
const chain = (seed: string) => new Signer().chunks(seed, "20130524T000000Z", IDENTITY, SCOPE);

const FIRST = "a".repeat(65_536);
const SECOND = "a".repeat(1_024);

/** S3's example of a signed body. */
const SIGNED = [
  "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
  FIRST,
  "400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
  SECOND,
  "0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
  "",
  "",
].join("\r\n");

const signed = (): ChunkedFraming => ({
  isSigned: true,
  signatures: chain("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"),
  trailers: [],
});

const unsigned: ChunkedFraming = { isSigned: false, signatures: undefined, trailers: ["x-amz-checksum-crc32"] };

async function* cut(text: string, bytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < text.length; at += bytes) yield Buffer.from(text.slice(at, at + bytes), "latin1");
}

/** The decoded body, or the code of S3's error. */
async function decode(text: string, framing: ChunkedFraming, bytes = 1_000): Promise<string> {
  const body = new ChunkedBody(framing);
  const pieces: Buffer[] = [];
  try {
    for await (const piece of body.decode(cut(text, bytes))) pieces.push(piece);
  } catch (error) {
    return CacheError.from(error).s3Code ?? "no code";
  }
  return `${Buffer.concat(pieces).toString("latin1")}${[...body.trailers].map(([name, value]) => `|${name}=${value}`).join("")}`;
}

describe("a body in S3's chunked form", () => {
  it.each([1, 7, 1_000, 100_000])(
    "with signatures is decoded as S3's example says, received in pieces of %d bytes",
    async (bytes) => {
      expect((await decode(SIGNED, signed(), bytes)) === FIRST + SECOND).toBe(true);
    },
  );

  it("with a changed byte, or with chunks in another order, does not have its signatures", async () => {
    expect(await decode(SIGNED.replace("aaaa\r\n400", "aaab\r\n400"), signed())).toBe("SignatureDoesNotMatch");
    const [one, first, two, second, ...end] = SIGNED.split("\r\n");
    expect(await decode([two, second, one, first, ...end].join("\r\n"), signed())).toBe("SignatureDoesNotMatch");
    expect(await decode(SIGNED.replace("chunk-signature=b", "chunk-signature=c"), signed())).toBe("SignatureDoesNotMatch");
  });

  it("has the trailers that were announced", async () => {
    const text = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32: NhCmhg== \r\n\r\n";
    for (const bytes of [1, 3, 100]) expect(await decode(text, unsigned, bytes)).toBe("hello|x-amz-checksum-crc32=NhCmhg==");
    expect(await decode("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", unsigned)).toBe("|x-amz-checksum-crc32=AAAAAA==");
    // Some clients leave out the last line.
    expect(await decode("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n", unsigned)).toBe("|x-amz-checksum-crc32=AAAAAA==");
  });

  it.each([
    ["5\r\nhello\r\n0\r\n\r\n", "MalformedTrailerError"],
    ["5\r\nhello\r\n0\r\nx-amz-checksum-sha1:AA==\r\n\r\n", "MalformedTrailerError"],
    ["5\r\nhello\r\n0\r\nnonsense\r\n\r\n", "MalformedTrailerError"],
    ["5\r\nhello", "IncompleteBody"],
    ["5\r\nhello\r\n", "IncompleteBody"],
    ["5\r\nhelloo\r\n0\r\n\r\n", "IncompleteBody"],
    ["5\r\nhell\r\n0\r\n\r\n", "IncompleteBody"],
    ["", "IncompleteBody"],
    ["-1\r\n", "IncompleteBody"],
    ["fffffffffffff\r\n", "IncompleteBody"],
    [`${"0".repeat(2_000)}5\r\nhello\r\n`, "IncompleteBody"],
    ["5;chunk-signature=abc\r\nhello\r\n", "IncompleteBody"],
    [`5;chunk-signature=${"0".repeat(64)}\r\nhello\r\n`, "IncompleteBody"],
    ["0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\nmore", "IncompleteBody"],
  ])("of the form %j is refused", async (text, code) => {
    for (const bytes of [1, 1_000]) expect(await decode(text, unsigned, bytes)).toBe(code);
  });
});
