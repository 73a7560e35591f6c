import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InvalidResponse } from "../../http/response-head.js";
import { objectHeadersIn, parseHead } from "./answer-head.js";

const good = [
  "HTTP/1.1 206 Partial Content",
  'ETag: "v1"',
  "Accept-Ranges: bytes",
  "Content-Length: 10",
  "Content-Range: bytes 0-9/100",
  "Date: Tue, 01 Jan 2030 00:00:00 GMT",
  "Connection: keep-alive",
  "Keep-Alive: timeout=75",
];

const parse = (lines: readonly string[]) => parseHead(lines.join("\r\n"));
const withLine = (line: string) => () => parse([...good, line]);

describe("a response header", () => {
  it("is parsed in the form of HTTP listeners", () => {
    expect(parse(good)).toMatchObject({
      status: 206,
      contentLength: 10,
      range: { first: 0, end: 10, objectSize: 100 },
      etag: '"v1"',
      keepAlive: true,
    });
  });

  it("reports how the member's cache answered", () => {
    const withCache = (...lines: string[]) => parse([...good.slice(0, 5), ...lines, "x-amz-request-id: 1", "Date: now"]).cached;
    expect(withCache("X-Cache: HIT", "Age: 12")).toEqual({ status: "HIT", ageSeconds: 12 });
    expect(withCache("X-Cache: MISS")).toEqual({ status: "MISS", ageSeconds: undefined });
    expect(withCache("X-Cache: STALE", "Age: 100000")).toEqual({ status: "STALE", ageSeconds: 100_000 });
    for (const other of [[], ["Age: 12"], ["X-Cache: HITS"], ["X-Cache: Hit from elsewhere"]]) {
      expect(withCache(...other)).toBeUndefined();
    }
  });

  it("may have names in any case, blanks around values, and irrelevant headers", () => {
    const lines = ["HTTP/1.1 404 ", "content-LENGTH:\t 5 \t", "x-anything:", "X-Other: caf\xe9 \x80", "CONNECTION: x, Close"];
    expect(parse(lines)).toMatchObject({ status: 404, contentLength: 5, keepAlive: false });
  });

  it("has the lines before the Content-Length as the description of the object", () => {
    const lines = [
      'ETag: "v1"',
      "content-encoding: gzip",
      "X-Amz-Meta-Latin: caf\xe9",
      "x-amz-meta-empty:",
      "x-anything: 1",
      "frontcache-lacks: metadata",
    ];
    const { objectLines } = parse(["HTTP/1.1 206 Partial Content", ...lines, "Content-Length: 1", "x-amz-meta-late: 1"]);
    expect(objectLines).toBe(`${lines.join("\r\n")}\r\n`);
    expect(objectHeadersIn(objectLines)).toEqual({
      headers: "content-encoding: gzip\r\nx-amz-meta-empty: \r\nx-amz-meta-latin: caf\xe9\r\n",
      lacks: "metadata",
    });
    expect(objectHeadersIn(parse(good).objectLines)).toEqual({});
  });

  it.each([
    "",
    "HTTP/1.0 206 Partial Content",
    "HTTP/2 206",
    "HTTP/1.1  206 Partial Content",
    "HTTP/1.1 2060 Partial Content",
    "HTTP/1.1 100 Continue",
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 600 Odd",
    "HTTP/1.1 206 Partial\nContent",
    " HTTP/1.1 206 Partial Content",
    "http/1.1 206 Partial Content",
    "ICY 200 OK",
    "220 smtp.example ESMTP",
  ])("is rejected with the status line %j", (line) => {
    expect(() => parse([line, ...good.slice(1)])).toThrow(InvalidResponse);
  });

  it.each([
    "Content-Length: 10",
    "Content-Length: 11",
    "content-length: 10",
    'ETag: "v1"',
    "Content-Range: bytes 0-9/100",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    " folded",
    "\tfolded",
    "no colon",
    ": no name",
    "Name : value",
    "Na me: value",
    "Na\u0000me: value",
    "Name: val\u0000ue",
    "Name: val\nContent-Length: 3",
    "Name: val\rue",
    "Name: \u007f",
    "\u00e9: value",
  ])("is rejected with another line %j", (line) => {
    expect(withLine(line)).toThrow(InvalidResponse);
  });

  it.each(["", "-1", "+10", "0x10", "1e3", "10,10", "10 10", "10.0", "1".repeat(16), "\u0661"])(
    "is rejected with the Content-Length %j",
    (length) => {
      const lines = good.map((line) => (line.startsWith("Content-Length") ? `Content-Length: ${length}` : line));
      expect(() => parse(lines)).toThrow(InvalidResponse);
    },
  );

  it("is rejected without a Content-Length", () => {
    expect(() => parse(good.filter((line) => !line.startsWith("Content-Length")))).toThrow("no Content-Length");
  });

  it("is parsed or rejected quickly for any bytes", () => {
    const bytes = fc.uint8Array({ maxLength: 400 }).map((codes) => Buffer.from(codes).toString("latin1"));
    const line = fc.oneof(
      fc.constantFrom(...good),
      bytes,
      fc.constantFrom("Transfer-Encoding: chunked", "Content-Length: 9", " x"),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          bytes,
          fc.array(line, { maxLength: 12 }).map((lines) => lines.join("\r\n")),
        ),
        (text) => {
          try {
            const { status, contentLength } = parseHead(text);
            expect(status).toBeGreaterThanOrEqual(200);
            expect(Number.isSafeInteger(contentLength) && contentLength >= 0).toBe(true);
          } catch (error) {
            expect(error).toBeInstanceOf(InvalidResponse);
          }
        },
      ),
      { numRuns: 1_500 },
    );
  });

  // A parser that is quadratic would take minutes.
  it("is parsed or rejected in time linear in its size", () => {
    const repeats = 300_000;
    for (const filling of [" ", "\t ", ",", "a", ": ", "\r\n ", "\r\n"]) {
      try {
        parseHead(`HTTP/1.1 206 ${filling.repeat(repeats)}\u0000`);
        parseHead(`HTTP/1.1 206 OK\r\nConnection: ${filling.repeat(repeats)}\u0000`);
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidResponse);
      }
      try {
        parseHead(`HTTP/1.1 206 OK\r\nContent-Length: 1\r\nConnection: ${filling.repeat(repeats)}x`);
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidResponse);
      }
    }
  });
});
