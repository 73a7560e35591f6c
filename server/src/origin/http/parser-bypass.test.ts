import { describe, expect, it } from "vitest";
import { bypassableHead, ParserBypass } from "./parser-bypass.js";

/** A bypass of 10 bytes into memory with room for 4 at a time. */
function setup() {
  const calls: string[] = [];
  const bypass = new ParserBypass(10, { resume: () => calls.push("resume"), onComplete: () => calls.push("complete") });
  const memory = Buffer.alloc(10, "-");
  let landedBytes = 0;
  const landing = {
    room: () => memory.subarray(landedBytes, landedBytes + 4),
    landed: (bytes: number) => {
      landedBytes += bytes;
    },
  };
  return { bypass, memory, landing, calls };
}

describe("a body that bypasses the parser", () => {
  it("lands in order up to its last byte, the bytes received before the landing was known first", () => {
    const { bypass, memory, landing, calls } = setup();
    expect(bypass.take(Buffer.from("abc"))).toBe(3);
    expect(bypass.room()).toBeUndefined();
    bypass.land(landing);
    expect([memory.toString(), calls]).toEqual(["abc-------", ["resume"]]);
    bypass.room()!.write("defg");
    bypass.landed(4);
    expect(bypass.take(Buffer.from("hi"))).toBe(2);
    expect(bypass.room()).toHaveLength(1);
    expect(bypass.take(Buffer.from("jk"))).toBe(1);
    expect([memory.toString(), calls]).toEqual(["abcdefghij", ["resume", "complete"]]);
    expect(bypass.room()).toBeUndefined();
    expect(bypass.take(Buffer.from("k"))).toBe(0);
  });

  it("is complete at once if all of it was received before, and takes no byte behind it", () => {
    const { bypass, memory, landing, calls } = setup();
    expect(bypass.take(Buffer.from("abcdefg"))).toBe(7);
    expect(bypass.take(Buffer.from("hijkl"))).toBe(3);
    bypass.land(landing);
    expect([memory.toString(), calls]).toEqual(["abcdefghij", ["complete", "resume"]]);
  });

  it("writes nothing more after it is cut, even while it lands", () => {
    const { bypass, memory, landing, calls } = setup();
    bypass.take(Buffer.from("abcdefg"));
    bypass.land({ room: landing.room, landed: () => bypass.cut() });
    expect([memory.toString(), calls]).toEqual(["abcd------", ["resume"]]);
    expect(bypass.room()).toBeUndefined();
    bypass.take(Buffer.from("hij"));
    expect(memory.toString()).toBe("abcd------");
  });
});

const good = ["HTTP/1.1 206 Partial Content", "Content-Range: bytes 0-9/10", "Content-Length: 10", 'ETag: "v1"'];
const wire = (lines: readonly string[], body = ""): Buffer => Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body}`, "latin1");
const withLine = (...more: string[]): Buffer => wire([...good, ...more]);

describe("a head whose body may bypass the parser", () => {
  it("has a known end, and gets another length without any other change", () => {
    const bytes = wire(good, "01234");
    const head = bypassableHead(bytes)!;
    expect([head.headBytes, head.contentLength]).toEqual([bytes.length - 5, 10]);
    expect(head.withLength(1).toString()).toBe(`${good.join("\r\n").replace("h: 10", "h: 1")}\r\n\r\n`);
  });

  it.each([["content-length:10"], ["CONTENT-LENGTH: \t10 "]])("may write its length as %j", (line) => {
    expect(bypassableHead(wire([good[0]!, line]))?.contentLength).toBe(10);
  });

  it("may have other headers about lengths, and may close its connection", () => {
    expect(bypassableHead(withLine("x-goog-stored-content-length: 9", "Connection: close"))?.contentLength).toBe(10);
    expect(
      bypassableHead(wire([good[0]!, "X: Content-Length: 9", good[2]!]))
        ?.withLength(1)
        .toString(),
    ).toContain("X: Content-Length: 9\r\nContent-Length: 1\r\n");
  });

  it.each<[string, Buffer]>([
    ["incomplete", wire(good).subarray(0, -1)],
    ["of another status", wire(["HTTP/1.1 200 OK", ...good.slice(1)])],
    ["an error", wire(["HTTP/1.1 503 Slow Down", ...good.slice(1)])],
    ["of an older version", wire(["HTTP/1.0 206 Partial Content", ...good.slice(1)])],
    ["an interim answer", Buffer.concat([wire(["HTTP/1.1 103 Early Hints"]), wire(good)])],
    ["without a length", wire(good.slice(0, 2))],
    ["with two lengths", withLine("Content-Length: 10")],
    ["with two lengths, one of them odd", withLine("content-length : 11")],
    ["with a length that is not a number", wire([good[0]!, "Content-Length: 1e3"])],
    ["with a length of 0", wire([good[0]!, "Content-Length: 0"])],
    ["with a length of 16 digits", wire([good[0]!, `Content-Length: ${"9".repeat(16)}`])],
    ["chunked, too", withLine("Transfer-Encoding: chunked")],
    ["folded", withLine("X: a", " Content-Length: 11")],
    ["with a bare line feed", withLine("X: a\nContent-Length: 11")],
    ["with a bare carriage return", withLine("X: a\rb")],
    ["with a NUL", withLine("X: a\0b")],
    ["of a body that has arrived completely", wire(good, "0123456789")],
    ["of a body that has arrived with more bytes", wire(good, "01234567890")],
    ["empty", Buffer.alloc(0)],
  ])("is not one that is: %s", (_, bytes) => {
    expect(bypassableHead(bytes)).toBeUndefined();
  });
});
