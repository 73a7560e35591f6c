import { describe, expect, it } from "vitest";
import { passingHead } from "./passing-head.js";

const good = ["HTTP/1.1 206 Partial Content", "Content-Range: bytes 0-9/10", "Content-Length: 10", 'ETag: "v1"'];
const wire = (lines: readonly string[], body = ""): Buffer => Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body}`, "latin1");
const withLine = (...more: string[]): Buffer => wire([...good, ...more]);

describe("a head whose body passes by the parser", () => {
  it("is told where it ends, and can be given another length, while all else stays", () => {
    const bytes = wire(good, "01234");
    const head = passingHead(bytes)!;
    expect([head.headBytes, head.contentLength]).toEqual([bytes.length - 5, 10]);
    expect(head.withLength(1).toString()).toBe(`${good.join("\r\n").replace("h: 10", "h: 1")}\r\n\r\n`);
  });

  it.each([["content-length:10"], ["CONTENT-LENGTH: \t10 "]])("may name its length as %j", (line) => {
    expect(passingHead(wire([good[0]!, line]))?.contentLength).toBe(10);
  });

  it("may speak of other lengths and end its connection", () => {
    expect(passingHead(withLine("x-goog-stored-content-length: 9", "Connection: close"))?.contentLength).toBe(10);
    expect(
      passingHead(wire([good[0]!, "X: Content-Length: 9", good[2]!]))
        ?.withLength(1)
        .toString(),
    ).toContain("X: Content-Length: 9\r\nContent-Length: 1\r\n");
  });

  it.each<[string, Buffer]>([
    ["not all here", wire(good).subarray(0, -1)],
    ["of another status", wire(["HTTP/1.1 200 OK", ...good.slice(1)])],
    ["an error's", wire(["HTTP/1.1 503 Slow Down", ...good.slice(1)])],
    ["of an older version", wire(["HTTP/1.0 206 Partial Content", ...good.slice(1)])],
    ["an interim answer's", Buffer.concat([wire(["HTTP/1.1 103 Early Hints"]), wire(good)])],
    ["without a length", wire(good.slice(0, 2))],
    ["with two lengths", withLine("Content-Length: 10")],
    ["with two lengths, one of them odd", withLine("content-length : 11")],
    ["with a length that is no number", wire([good[0]!, "Content-Length: 1e3"])],
    ["with a length of no use", wire([good[0]!, "Content-Length: 0"])],
    ["with an endless length", wire([good[0]!, `Content-Length: ${"9".repeat(16)}`])],
    ["chunked, too", withLine("Transfer-Encoding: chunked")],
    ["folded", withLine("X: a", " Content-Length: 11")],
    ["with a bare line feed", withLine("X: a\nContent-Length: 11")],
    ["with a bare carriage return", withLine("X: a\rb")],
    ["with a NUL", withLine("X: a\0b")],
    ["of a body that is all here", wire(good, "0123456789")],
    ["of a body that is here, with more", wire(good, "01234567890")],
    ["nothing", Buffer.alloc(0)],
  ])("is not one that is %s", (_, bytes) => {
    expect(passingHead(bytes)).toBeUndefined();
  });
});
