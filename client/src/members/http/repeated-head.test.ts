import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AnswerHeading, MAX_HEAD_BYTES, parseHead } from "./answer-head.js";
import { RepeatedHeads } from "./repeated-head.js";

const URL = "s3://bucket/key";
const OBJECT = [
  "HTTP/1.1 206 Partial Content",
  'ETag: "v1"',
  "Last-Modified: Tue, 01 Jan 2030 00:00:00 GMT",
  "Accept-Ranges: bytes",
  "Content-Type: a/b",
];
const body = (length: number, ...more: readonly string[]): readonly string[] => [
  `Content-Length: ${length}`,
  `Content-Range: bytes 1-${length}/99`,
  ...more,
];
const GOOD = [...OBJECT, ...body(7, "X-Cache: HIT", "Age: 3", "x-amz-request-id: 1", "Date: today")];

/** Everything that a heading says. */
function said(heading: AnswerHeading) {
  const { status, contentLength, isChunked, keepAlive, range, etag, contentType, lastModifiedMs, objectLines } = heading;
  const { cached, errorCode, isOriginTried } = heading;
  return [status, contentLength, isChunked, keepAlive, range, etag, contentType, lastModifiedMs, objectLines].concat([
    JSON.stringify(cached),
    errorCode,
    isOriginTried,
  ]);
}

function remembering(lines: readonly string[] = GOOD): RepeatedHeads {
  const heads = new RepeatedHeads();
  const text = lines.join("\r\n");
  heads.remember(URL, text, parseHead(text));
  return heads;
}

/** Parses a head with bytes of a body behind it, as it is received. */
function parse(heads: RepeatedHeads, lines: readonly string[], url = URL) {
  const bytes = Buffer.from(`${lines.join("\r\n")}\r\n\r\nbody`, "latin1");
  return heads.parse(url, bytes, bytes.length);
}

describe("a head that resembles an earlier one", () => {
  it.each([
    ["the same lines", GOOD],
    ["another range and no report", [...OBJECT, ...body(5, "x-amz-request-id: 2", "Date: tomorrow")]],
    ["a miss without an age", [...OBJECT, ...body(5, "X-Cache: MISS", "Date: \xe9\t")]],
    ["stale bytes", [...OBJECT, ...body(98, "X-Cache: STALE", "Age: 100000", "Via: 1.1 proxy")]],
    ["no further lines", [...OBJECT, ...body(5)]],
    ["a range that cannot be", [...OBJECT, "Content-Length: 5", "Content-Range: bytes 9-5/99"]],
  ])("is parsed as any head is, with %s", (_, lines) => {
    const repeated = parse(remembering(), lines)!;
    expect(said(repeated.head)).toEqual(said(parseHead(lines.join("\r\n"))));
    expect(repeated.headBytes).toBe(lines.join("\r\n").length + 4);
  });

  it.each([
    "Content-Length: 5",
    "content-length: 5",
    "Content-Range: bytes 1-5/99",
    'ETag: "v1"',
    "Transfer-Encoding: chunked",
    "Connection: close",
    "Connection: keep-alive",
    "frontcache-error: NOT_FOUND",
    "X-Cache: HIT",
    "Age: 5",
    "Date : today",
    "Date:today",
    "Date: \u0000",
    "Date: a\nb",
    "Date: \u007f",
    " folded",
    "",
  ])("is left to the parser of all heads with the further line %j", (line) => {
    expect(parse(remembering(), [...OBJECT, ...body(5, "Date: today", line, "Date: today")])?.headBytes).toBe(
      line === "" ? [...OBJECT, ...body(5, "Date: today")].join("\r\n").length + 4 : undefined,
    );
  });

  it.each([
    [[...OBJECT.slice(0, 1), 'ETag: "v2"', ...OBJECT.slice(2), ...body(5)]],
    [["HTTP/1.1 200 OK", ...OBJECT.slice(1), ...body(5)]],
    [[...OBJECT, "Content-Length: ", "Content-Range: bytes 1-5/99"]],
    [[...OBJECT, "Content-Length: -5", "Content-Range: bytes 1-5/99"]],
    [[...OBJECT, `Content-Length: ${"1".repeat(16)}`, "Content-Range: bytes 1-5/99"]],
    [[...OBJECT, "Content-Length: 5"]],
    [[...OBJECT, "Content-Length: 5", "Content-Range: bytes 1-5/*"]],
    [[...OBJECT, ...body(5, "X-Cache: HITS")]],
    [[...OBJECT, ...body(5, "X-Cache: HIT", `Age: ${"1".repeat(10)}`)]],
    [[...OBJECT, ...body(5, `Via: ${"x".repeat(MAX_HEAD_BYTES)}`)]],
  ])("is left to the parser of all heads if it is %j", (lines) => {
    expect(parse(remembering(), lines)).toBeUndefined();
  });

  it("is left to the parser of all heads if it is of an object that was not read", () => {
    expect(parse(remembering(), GOOD, "s3://bucket/other")).toBeUndefined();
  });

  it("is never parsed by an earlier one that says more behind the lines of members", () => {
    for (const more of ["Connection: close", "frontcache-origin-tried: 1", "Content-Type: c/d"]) {
      expect(parse(remembering([...OBJECT, ...body(5, more)]), GOOD)).toBeUndefined();
    }
    expect(parse(remembering(["HTTP/1.1 206 Partial Content", "Connection: close", ...body(5)]), GOOD)).toBeUndefined();
  });

  it("closes the connection if the earlier one did", () => {
    const closing = ["HTTP/1.1 206 Partial Content", 'ETag: "v1"', "Connection: close", ...body(5)];
    expect(parse(remembering(closing), closing)!.head.keepAlive).toBe(false);
  });

  it("needs all of its bytes, and no byte behind the received ones", () => {
    const heads = remembering();
    const bytes = Buffer.from(`${GOOD.join("\r\n")}\r\n\r\n`, "latin1");
    for (let end = 0; end < bytes.length; end++) expect(heads.parse(URL, bytes, end)).toBeUndefined();
    expect(heads.parse(URL, bytes, bytes.length)?.headBytes).toBe(bytes.length);
  });

  it("says the same as the parser of all heads for any lines", () => {
    const heads = remembering();
    const line = fc.oneof(
      fc.constantFrom(...body(5), ...GOOD.slice(OBJECT.length), "Via: x", "Connection: close", "X-Cache: STALE", "Age: 1"),
      fc.string({ maxLength: 12 }),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), (more) => {
        const lines = [...OBJECT, ...more];
        const repeated = parse(heads, lines);
        const text = `${lines.join("\r\n")}\r\n\r\n`;
        if (repeated !== undefined) {
          expect(said(repeated.head)).toEqual(said(parseHead(text.slice(0, text.indexOf("\r\n\r\n")))));
        }
      }),
      { numRuns: 2_000, seed: 18 },
    );
  });
});
