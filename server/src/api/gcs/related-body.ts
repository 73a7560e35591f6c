import { CacheError } from "@frontcache/proto";
import type { RelatedPart } from "../../origin/origin.js";
import { untilDelimiter } from "../../runtime/delimited-bytes.js";

/** An object that is uploaded with its metadata in one request (multipart/related, RFC 2387). */
export interface RelatedBody {
  readonly part: RelatedPart;
  /** The object's bytes, read once. Throws INVALID_ARGUMENT if the body ends before its last delimiter, or has a third part. */
  readonly content: AsyncGenerator<Buffer, void>;
}

/** An object's metadata has up to 8 KiB of custom values. */
const MAX_DOCUMENT_BYTES = 64 << 10;
/** The headers of a part. */
const MAX_HEAD_BYTES = 4 << 10;
/** What may follow the last delimiter. */
const MAX_END_BYTES = 4 << 10;

/** RFC 2046's limit. */
const BOUNDARY = /^[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]$/;

/** Reads a body up to the object. Throws INVALID_ARGUMENT for a malformed one. */
export async function readRelated(pieces: AsyncIterable<Buffer>, contentType: string | undefined): Promise<RelatedBody> {
  const boundary = boundaryOf(contentType);
  const source = pieces[Symbol.asyncIterator]();
  const delimiter = Buffer.from(`\r\n--${boundary}`);
  // The first delimiter begins the body, so that a line break before it makes it like the others.
  const opening = await readUntil(source, Buffer.from("\r\n"), delimiter, MAX_HEAD_BYTES);
  if (opening.content.length > 0) throw malformed("it begins with something else than its boundary");
  const head = await partHead(source, opening.rest);
  const document = await readUntil(source, head.rest, delimiter, MAX_DOCUMENT_BYTES);
  const second = await partHead(source, document.rest);
  const part = { document: document.content, contentType: second.contentType };
  return { part, content: contentOf(source, second.rest, delimiter) };
}

/** The bytes up to the last delimiter. */
async function* contentOf(source: AsyncIterator<Buffer>, first: Buffer, delimiter: Buffer): AsyncGenerator<Buffer, void> {
  const behind = yield* untilDelimiter(source, first, delimiter);
  if (behind === undefined) throw malformed("it ends before its last boundary");
  let [end, behindBytes] = [behind, behind.length];
  for (;;) {
    const { done, value } = await source.next();
    if (done === true) break;
    if (end.length < 2) end = Buffer.concat([end, value]);
    behindBytes += value.length;
    if (behindBytes > MAX_END_BYTES) break;
  }
  if (end.toString("latin1", 0, 2) !== "--" || behindBytes > MAX_END_BYTES)
    throw malformed("its second part must be the last one, and nothing may follow it");
}

/** The head of a part, after the line of its delimiter. */
async function partHead(
  source: AsyncIterator<Buffer>,
  first: Buffer,
): Promise<{ readonly contentType: string | undefined; readonly rest: Buffer }> {
  const { content, rest } = await readUntil(source, first, Buffer.from("\r\n\r\n"), MAX_HEAD_BYTES);
  const lines = content.toString("latin1").split("\r\n");
  // What precedes the first line break belongs to the delimiter.
  if (lines.shift()!.trim() !== "") throw malformed("it has fewer than two parts");
  let contentType: string | undefined;
  for (const line of lines) {
    const [, name = "", value = ""] = /^([^:]+):\s*(.*?)\s*$/.exec(line) ?? [];
    if (/^content-type$/i.test(name) && /^[\x20-\x7e\x80-\xff]+$/.test(value)) contentType = value;
    else if (!/^(?:mime-version|content-transfer-encoding)$/i.test(name) || /base64|quoted-printable/i.test(value))
      throw malformed(`the header ${JSON.stringify(line.slice(0, 100))} of a part is not supported`);
  }
  return { contentType, rest };
}

async function readUntil(
  source: AsyncIterator<Buffer>,
  first: Buffer,
  delimiter: Buffer,
  maxBytes: number,
): Promise<{ readonly content: Buffer; readonly rest: Buffer }> {
  const found = untilDelimiter(source, first, delimiter);
  const pieces: Buffer[] = [];
  for (let bytes = 0; ; ) {
    const { done, value } = await found.next();
    if (value === undefined) throw malformed("it ends before its last boundary");
    if (done === true) return { content: Buffer.concat(pieces), rest: value };
    bytes += value.length;
    if (bytes > maxBytes) throw malformed("its head or its metadata is too long");
    pieces.push(value);
  }
}

function boundaryOf(contentType: string | undefined): string {
  const [, quoted, plain] = /^multipart\/related\s*;(?:.*;)?\s*boundary=(?:"([^"]*)"|([^\s;"]+))/i.exec(contentType ?? "") ?? [];
  const boundary = quoted ?? plain;
  if (boundary !== undefined && BOUNDARY.test(boundary)) return boundary;
  throw malformed("its Content-Type must be multipart/related with a boundary");
}

function malformed(why: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", `the body of a multipart upload is malformed: ${why}`);
}
