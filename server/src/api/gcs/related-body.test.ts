import { describe, expect, it } from "vitest";
import { readRelated } from "./related-body.js";

const TYPE = "multipart/related; boundary=xyz";

/** The bytes of a body in pieces of one size. */
async function* inPieces(body: Buffer, size: number): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size);
}

const bodyOf = (content: string, end = "\r\n--xyz--") =>
  Buffer.from(
    `--xyz\r\nContent-Type: application/json\r\n\r\n{"name":"k"}\r\n--xyz\r\nContent-Type: text/plain\r\n\r\n${content}${end}`,
    "latin1",
  );

async function read(body: Buffer, size = body.length, type: string | undefined = TYPE) {
  const { part, content } = await readRelated(inPieces(body, size), type);
  const pieces: Buffer[] = [];
  for await (const piece of content) pieces.push(piece);
  return { ...part, document: Buffer.from(part.document).toString(), content: Buffer.concat(pieces).toString("latin1") };
}

describe("an object with its metadata in one body", () => {
  const content = "begins\r\n--xy, continues\r\n--xz\r\r\n-- and ends\r\n";

  it.each([1, 2, 3, 7, 64, 10_000])("is read in pieces of %d bytes, whatever looks like its boundary", async (size) => {
    for (const end of ["\r\n--xyz--", "\r\n--xyz--\r\n"]) {
      expect(await read(bodyOf(content, end), size)).toEqual({
        document: '{"name":"k"}',
        contentType: "text/plain",
        content,
      });
    }
  });

  it("may be empty, have no types, and have a boundary in quotes", async () => {
    const body = Buffer.from("--xyz\r\n\r\n{}\r\n--xyz\r\n\r\n\r\n--xyz--");
    const found = await read(body, 5, 'Multipart/Related; charset=x; boundary="xyz"');
    expect(found).toEqual({
      document: "{}",
      contentType: undefined,
      content: "",
    });
  });

  it.each([
    ["no boundary in its type", bodyOf("x"), "multipart/related"],
    ["no type", bodyOf("x"), ""],
    ["another boundary", bodyOf("x"), "multipart/related; boundary=abc"],
    ["no end", bodyOf("x", ""), TYPE],
    ["half an end", bodyOf("x", "\r\n--xyz-"), TYPE],
    ["a third part", bodyOf("x", "\r\n--xyz\r\n\r\nmore\r\n--xyz--"), TYPE],
    ["one part", Buffer.from("--xyz\r\n\r\n{}\r\n--xyz--"), TYPE],
    ["something before its boundary", Buffer.concat([Buffer.from("x"), bodyOf("x")]), TYPE],
    [
      "bytes in base64",
      Buffer.from("--xyz\r\n\r\n{}\r\n--xyz\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--xyz--"),
      TYPE,
    ],
    ["long metadata", Buffer.from(`--xyz\r\n\r\n${" ".repeat(70_000)}\r\n--xyz\r\n\r\n\r\n--xyz--`), TYPE],
    ["much behind its end", bodyOf("x", `\r\n--xyz--${"x".repeat(10_000)}`), TYPE],
    ["nothing", Buffer.alloc(0), TYPE],
  ])("is refused with %s", async (_, body, type) => {
    await expect(read(body, 1_000, type)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
