import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { boundaryOf, readForm } from "./form-body.js";

/** The variable that stands for the name of the file. */
const FILE_NAME = `$${"{filename}"}`;

const BOUNDARY = "x-boundary";

/** A part with a field. */
const part = (name: string, value: string, more = ""): string =>
  `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;

const END = `--${BOUNDARY}--\r\n`;

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** What a form says, or the code of its error. */
async function read(body: string | Buffer, size = 64 << 10) {
  const bytes = Buffer.from(body);
  try {
    const form = await readForm(inPieces(bytes, size), BOUNDARY, bytes.length);
    const pieces: Buffer[] = [];
    for await (const piece of form.file) pieces.push(piece);
    const file = Buffer.concat(pieces).toString("latin1");
    expect(file.length).toBe(form.fileLength);
    return { fields: Object.fromEntries(form.fields), fileName: form.fileName, file };
  } catch (error) {
    return CacheError.from(error).s3Code;
  }
}

describe("a form with a file", () => {
  const body =
    part("Key", `a/${FILE_NAME}`) +
    part("acl", "", '; filename="acl"') +
    `--${BOUNDARY}\r\nContent-Type: text/plain; charset=utf-8\r\ncontent-disposition: form-data; name=x-amz-meta-a\r\n\r\n\u00fc\r\nb\r\n` +
    part("file", "hello\r\n--x-boundar\r\r\n-", '; filename="C:\\dir\\a \\"b\\".txt"');

  it("is the same in pieces of any size", async () => {
    const expected = {
      fields: { key: `a/${FILE_NAME}`, acl: "", "x-amz-meta-a": "\u00fc\r\nb" },
      fileName: 'a "b".txt',
      file: "hello\r\n--x-boundar\r\r\n-",
    };
    for (let size = 1; size <= Buffer.byteLength(body + END); size++) expect(await read(body + END, size)).toEqual(expected);
  });

  it("may have fields behind the file, which are ignored, and no line break at its end", async () => {
    const fields = part("key", "k");
    const expected = { fields: { key: "k" }, fileName: "", file: "bytes" };
    expect(await read(fields + part("file", "bytes") + part("submit", "Upload") + END)).toEqual(expected);
    expect(await read(fields + part("file", "bytes") + END.trimEnd())).toEqual(expected);
    expect(await read(fields + part("file", "") + END)).toEqual({ ...expected, file: "" });
  });

  it("is streamed if it is large, and then ends with its file", async () => {
    const file = "0123456789\r\n--x-bound\r".repeat(70_000);
    const start = part("key", "k") + part("file", file);
    for (const size of [1_000, 4_093, 64 << 10, 1 << 21]) {
      expect(await read(start + END, size)).toEqual({ fields: { key: "k" }, fileName: "", file });
    }
    expect(await read(start + part("submit", "Upload") + END)).toBe("MalformedPOSTRequest");
    expect(await read(start + END.trimEnd())).toBe("MalformedPOSTRequest");
    expect(await read(start)).toBe("MalformedPOSTRequest");
  });

  it("does not wait for the end of a large file before its first bytes", async () => {
    const head = Buffer.from(`${part("key", "k")}--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"\r\n\r\nfirst`);
    const length = head.length + (2 << 20);
    async function* stalled(): AsyncGenerator<Buffer> {
      yield head;
      await new Promise(() => {});
    }
    const form = await readForm(stalled(), BOUNDARY, length);
    expect(form.fileLength).toBe(length - head.length + 5 - (BOUNDARY.length + 8));
    expect((await form.file[Symbol.asyncIterator]().next()).value).toEqual(Buffer.from("first"));
  });

  it.each<[string, string, string | Buffer]>([
    ["nothing", "MalformedPOSTRequest", ""],
    ["another boundary", "MalformedPOSTRequest", `--other\r\n${body}`],
    ["no file", "IncorrectNumberOfFilesInPostRequest", part("key", "k") + END],
    ["nothing but an end", "IncorrectNumberOfFilesInPostRequest", END],
    ["an end inside of a field", "IncorrectNumberOfFilesInPostRequest", part("key", "k").slice(0, -3)],
    ["no end behind the file", "MalformedPOSTRequest", part("key", "k") + part("file", "bytes")],
    ["a part without a name", "MalformedPOSTRequest", `--${BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nk\r\n${END}`],
    ["a part without a disposition", "MalformedPOSTRequest", `--${BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nk\r\n${END}`],
    ["an attachment", "MalformedPOSTRequest", `--${BOUNDARY}\r\nContent-Disposition: attachment; name="key"\r\n\r\nk\r\n${END}`],
    ["text behind a boundary", "MalformedPOSTRequest", part("key", "k").replace(BOUNDARY, `${BOUNDARY}x`)],
    ["a field twice", "InvalidArgument", part("key", "k") + part("KEY", "l") + part("file", "bytes") + END],
    ["a field that is not UTF-8", "MalformedPOSTRequest", Buffer.from(part("key", "\u00ff") + END, "latin1")],
    ["a head of 3 KB", "MalformedPOSTRequest", part("key", "k", `; x="${"a".repeat(3_000)}"`)],
    ["a head without an end", "MalformedPOSTRequest", `--${BOUNDARY}\r\n${"a".repeat(10_000)}`],
    ["fields of 21 KB", "MaxPostPreDataLengthExceededError", part("key", "k".repeat(21_000)) + part("file", "bytes") + END],
    ["a field without an end", "MaxPostPreDataLengthExceededError", part("key", "k".repeat(60_000))],
  ])("is refused with %s: %s", async (_, code, form) => {
    expect(await read(form)).toBe(code);
    expect(await read(form, 7)).toBe(code);
  });

  it("is read in a short time, whatever quotes its heads have", async () => {
    const head = `; a="${'\\";a="'.repeat(280)}`;
    const parts = Array.from({ length: 9 }, (_, at) => part(`x-${at}`, "", head)).join("");
    expect(await read(parts + part("key", "k") + part("file", "bytes") + END, 1)).toMatchObject({ file: "bytes" });
  });
});

describe("the Content-Type of a form", () => {
  const boundary = (type?: string) => {
    try {
      return boundaryOf(type);
    } catch (error) {
      return CacheError.from(error).code;
    }
  };

  it("names its boundary", () => {
    expect(boundary("multipart/form-data; boundary=abc")).toBe("abc");
    expect(boundary('Multipart/Form-Data; charset=utf-8; boundary="a b"')).toBe("a b");
    for (const wrong of [undefined, "text/plain", "multipart/form-data", 'multipart/form-data; boundary="a\r\nb"']) {
      expect(boundary(wrong)).toBe("FAILED_PRECONDITION");
    }
    expect(boundary(`multipart/form-data; boundary=${"a".repeat(71)}`)).toBe("FAILED_PRECONDITION");
  });
});
