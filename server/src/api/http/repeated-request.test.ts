import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseRange } from "../s3/range-header.js";
import { type PlainRequest, parsePlainRequest } from "./plain-request.js";
import { RepeatedRequest } from "./repeated-request.js";

const PLAIN = "GET /s3/bucket/a%20key HTTP/1.1\r\nHost: member-0.cache:8081\r\nRange: bytes=10-19\r\n";

const parse = (text: string) => parsePlainRequest(Buffer.from(text, "latin1"), "prefixed");

/** What a request says, without what it repeats. */
const contentOf = ({ method, url, httpVersion, isPlain, headers }: PlainRequest) => ({
  method,
  url,
  httpVersion,
  isPlain,
  headers,
});

describe("a repeated request", () => {
  const FORMS = [
    `${PLAIN}\r\n`,
    `${PLAIN}If-Match: "v1"\r\nAuthorization: Bearer t\r\nfrontcache-forwarded: 1\r\n\r\n`,
    "GET /s3/b/k HTTP/1.1\r\nUser-Agent: bytes=10-19\r\nrange: bytes=10-19\r\nHost: m\r\n\r\n",
    "GET /s3/b/k HTTP/1.1\r\nHost: m\r\nRANGE: bytes=10-19\r\nuser-agent: range: bytes=10-19\r\n\r\n",
    "GET /s3/b/k HTTP/1.1\r\nHost: m\r\n\r\n",
    "HEAD /s3/b/k HTTP/1.1\r\nHost: m\r\nAccept: */*\r\n\r\n",
  ];
  const repeatedOf = (text: string) => new RepeatedRequest(Buffer.from(text), parse(text)!);
  const rangeAt = (text: string): number => text.toLowerCase().lastIndexOf("\r\nrange: bytes=") + "\r\nrange: bytes=".length;
  const again = (text: string, numbers: string): string =>
    text.includes("10-19") ? `${text.slice(0, rangeAt(text))}${numbers}${text.slice(rangeAt(text) + 5)}` : text;

  it.each(FORMS)("is parsed like the first one, with any numbers in its range: %j", (first) => {
    const repeated = repeatedOf(first);
    for (const numbers of ["10-19", "0-0", "9-1", "123456789012345-999999999999999", "7-123456"]) {
      const text = again(first, numbers);
      const parsed = parse(text)!;
      const found = repeated.parse(Buffer.from(text))!;
      expect(contentOf(found)).toEqual(parsed);
      expect(found.range).toEqual(parseRange(parsed.headers.range));
      expect(found.repeated).toBe(repeated);
    }
  });

  it.each([
    "",
    "-1",
    "1-",
    "-",
    "1",
    "1-2-3",
    "1-2,3-4",
    " 1-2",
    "1-2 ",
    "1 -2",
    "a-b",
    "1-2\r\nX: y",
    "9".repeat(16),
    `0-${"9".repeat(16)}`,
    "00-1",
    "0-01",
  ])("does not have the range %j", (numbers) => {
    for (const first of FORMS.slice(0, 4)) expect(repeatedOf(first).parse(Buffer.from(again(first, numbers)))).toBeUndefined();
  });

  it("is not repeated if any other byte differs, is missing or is added", () => {
    for (const first of FORMS) {
      const repeated = repeatedOf(first);
      const bytes = Buffer.from(first);
      for (let at = 0; at < bytes.length; at++) {
        const other = Buffer.from(bytes);
        other[at] = 0;
        expect(repeated.parse(other)).toBeUndefined();
        expect(repeated.parse(bytes.subarray(0, at))).toBeUndefined();
      }
      expect(repeated.parse(Buffer.concat([bytes, bytes]))).toBeUndefined();
    }
  });

  it("ends with the received bytes, whatever an earlier request has left behind them", () => {
    for (const first of FORMS) {
      const [bytes, repeated] = [Buffer.from(first), repeatedOf(first)];
      expect(repeated.parse(Buffer.concat([bytes, bytes]), bytes.length)).toBeDefined();
      for (let count = 0; count < bytes.length; count++) expect(repeated.parse(bytes, count)).toBeUndefined();
    }
  });

  it("never differs from what the bytes alone mean", () => {
    const first = FORMS[0]!;
    const repeated = repeatedOf(first);
    const piece = fc.constantFrom("0", "19", "-", "\r\n", "bytes=", "Range: ", "Host: m", "GET", " ", "9".repeat(15), ",");
    fc.assert(
      fc.property(fc.nat(first.length), fc.nat(12), fc.array(piece, { maxLength: 4 }), (at, removed, pieces) => {
        const text = first.slice(0, at) + pieces.join("") + first.slice(at + removed);
        const parsed = repeated.parse(Buffer.from(text));
        if (parsed === undefined) return;
        expect(contentOf(parsed)).toEqual(parse(text));
        expect(parsed.range).toEqual(parseRange(parsed.headers.range));
      }),
      { seed: 18, numRuns: 2_000 },
    );
  });
});
