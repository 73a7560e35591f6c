import { isUtf8 } from "node:buffer";
import { CacheError, type S3Code } from "@frontcache/proto";
import { untilDelimiter } from "../../../runtime/delimited-bytes.js";

/** A form that uploads one file (multipart/form-data, RFC 7578), up to the file. */
export interface Form {
  /** Values by names in lower case. The file is not among them. */
  readonly fields: ReadonlyMap<string, string>;
  /** The last part of the file's name. Empty: it has none. */
  readonly fileName: string;
  /** Bytes of the file. */
  readonly fileLength: number;
  /** The file, in pieces, read once. Throws S3's error if the form is malformed, or if the file has another length. */
  readonly file: AsyncIterable<Buffer>;
}

/** S3's limit for the fields before the file, with their boundaries. */
const MAX_FIELDS_BYTES = 20 << 10;
/** The length of the file in a larger form is computed, so that nothing but the end of the form may follow the file. */
const IN_MEMORY_BYTES = 1 << 20;
/** The head of a part: the names of a field and of a file. */
const MAX_HEAD_BYTES = 2 << 10;
/** RFC 2046's limit. */
const BOUNDARY = /^[\w'()+,./:=? -]{0,69}[\w'()+,./:=?-]$/;

/** The boundary in the Content-Type of a form. Throws S3's error if the request has no form. */
export function boundaryOf(contentType: string | undefined): string {
  const [, quoted, plain] =
    /^multipart\/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]*)"|([^\s;"]+))/i.exec(contentType ?? "") ?? [];
  const boundary = quoted ?? plain;
  if (boundary !== undefined && BOUNDARY.test(boundary)) return boundary;
  const message =
    "At least one of the pre-conditions you specified did not hold: Bucket POST must be of the enclosure-type multipart/form-data";
  throw new CacheError("FAILED_PRECONDITION", message);
}

/** Reads a form of `length` bytes up to its file. Throws S3's error. */
export async function readForm(pieces: AsyncIterable<Buffer>, boundary: string, length: number): Promise<Form> {
  const source = pieces[Symbol.asyncIterator]();
  const reading = new FieldsReading(boundary);
  let received: Buffer = Buffer.alloc(0);
  let file: FileStart | undefined;
  for (;;) {
    file = reading.read(received);
    if (file !== undefined) break;
    if (received.length > MAX_FIELDS_BYTES) throw tooLong();
    const { done, value } = await source.next();
    if (done === true) throw reading.hasBegun ? refused("IncorrectNumberOfFilesInPostRequest", ONE_FILE) : malformed();
    received = received.length === 0 ? value : Buffer.concat([received, value]);
  }
  const { at, fileName } = file;
  if (at > MAX_FIELDS_BYTES) throw tooLong();
  const content = new FileContent(source, received.subarray(at), boundary);
  const form = { fields: reading.fields, fileName };
  if (length <= IN_MEMORY_BYTES) {
    const bytes: Buffer[] = [];
    for await (const piece of content.pieces(Number.POSITIVE_INFINITY)) bytes.push(piece);
    const whole = Buffer.concat(bytes);
    return { ...form, fileLength: whole.length, file: one(whole) };
  }
  // The last delimiter, "--" and a line break follow the file.
  const fileLength = length - at - (boundary.length + 8);
  if (fileLength < 0) throw malformed();
  return { ...form, fileLength, file: content.pieces(fileLength) };
}

/** Where the content of a file begins. */
interface FileStart {
  readonly at: number;
  readonly fileName: string;
}

/** Reads the parts of a form before its file. */
class FieldsReading {
  readonly fields = new Map<string, string>();
  /** `--boundary`, which the form begins with. */
  readonly #first: Buffer;
  /** The same after a line break, which ends each part. */
  readonly #delimiter: Buffer;
  /** The part that is read next, after the line of its delimiter. Undefined: the form has not begun. */
  #at: number | undefined;
  /** The field whose value is read next, and where its value begins. Undefined: a head is read next. */
  #field: { readonly name: string; readonly from: number } | undefined;

  constructor(boundary: string) {
    this.#first = Buffer.from(`--${boundary}`);
    this.#delimiter = Buffer.from(`\r\n--${boundary}`);
  }

  get hasBegun(): boolean {
    return this.#at !== undefined;
  }

  /** Reads the complete parts of what has been received. Returns where the file begins; undefined: not yet. */
  read(received: Buffer): FileStart | undefined {
    if (this.#at === undefined) {
      if (received.length < this.#first.length + 2) return undefined;
      if (!received.subarray(0, this.#first.length).equals(this.#first)) throw malformed();
      this.#at = this.#behindLine(received, this.#first.length);
    }
    for (;;) {
      if (this.#field === undefined) {
        const headEnd = received.indexOf("\r\n\r\n", this.#at, "latin1");
        if ((headEnd < 0 ? received.length : headEnd) - this.#at > MAX_HEAD_BYTES) throw malformed();
        if (headEnd < 0) return undefined;
        const { name, fileName } = dispositionOf(received.subarray(this.#at, headEnd));
        if (name.toLowerCase() === "file") return { at: headEnd + 4, fileName };
        this.#field = { name, from: headEnd + 4 };
      }
      const { name, from } = this.#field;
      const end = received.indexOf(this.#delimiter, from);
      if (end < 0 || received.length < end + this.#delimiter.length + 2) return undefined;
      this.#add(name, received.subarray(from, end));
      this.#field = undefined;
      this.#at = this.#behindLine(received, end + this.#delimiter.length);
    }
  }

  /** The place after the end of a delimiter's line. */
  #behindLine(received: Buffer, at: number): number {
    const end = received.toString("latin1", at, at + 2);
    if (end === "--") throw refused("IncorrectNumberOfFilesInPostRequest", ONE_FILE);
    if (end !== "\r\n") throw malformed();
    return at + 2;
  }

  #add(name: string, value: Buffer): void {
    const key = name.toLowerCase();
    if (this.fields.has(key))
      throw refused("InvalidArgument", `The form has several fields ${JSON.stringify(name.slice(0, 100))}.`);
    if (!isUtf8(value)) throw malformed();
    this.fields.set(key, value.toString());
  }
}

/** The content of the file and the end of the form after it. */
class FileContent {
  readonly #source: AsyncIterator<Buffer>;
  readonly #first: Buffer;
  readonly #delimiter: Buffer;

  constructor(source: AsyncIterator<Buffer>, first: Buffer, boundary: string) {
    this.#source = source;
    this.#first = first;
    this.#delimiter = Buffer.from(`\r\n--${boundary}`);
  }

  /**
   * The bytes of the file. The form is read to its end; fields after the file are ignored, as S3 ignores them. Throws S3's error if the
   * file has other than `length` bytes; infinite: it may have any length.
   */
  async *pieces(length: number): AsyncGenerator<Buffer, void> {
    const content = untilDelimiter(this.#source, this.#first, this.#delimiter);
    let sent = 0;
    for (;;) {
      const { done, value } = await content.next();
      if (value === undefined) throw malformed();
      if (done === true) break;
      sent += value.length;
      if (sent > length) throw notLast();
      yield value;
    }
    const isRefused = Number.isFinite(length) && sent !== length;
    // What follows is ignored, and verified with the whole body. Behind a file that is refused, few fields follow.
    for (let left = isRefused ? MAX_FIELDS_BYTES : Number.POSITIVE_INFINITY; left > 0; ) {
      const { done, value } = await this.#source.next();
      if (done === true) break;
      left -= value.length;
    }
    if (isRefused) throw notLast();
  }
}

/** The name of a part, and of its file. Throws S3's error. */
function dispositionOf(head: Buffer): { readonly name: string; readonly fileName: string } {
  if (!isUtf8(head)) throw malformed();
  const parameters = /^content-disposition: *form-data *((?:;.*)?)$/im.exec(head.toString().replaceAll("\r\n", "\n"))?.[1];
  if (parameters === undefined) throw malformed();
  let [name, fileName] = [undefined as string | undefined, ""];
  for (const [, key, quoted, plain] of parameters.matchAll(/;\s*([\w*-]+)=(?:"((?:[^"\\]|\\.)*)"|([^";\s]*))/g)) {
    // Browsers escape quotes and line breaks by percent signs, some other clients by backslashes.
    const value = quoted?.replaceAll('\\"', '"').replaceAll("%22", '"') ?? plain ?? "";
    if (key!.toLowerCase() === "name") name ??= value;
    else if (key!.toLowerCase() === "filename") fileName = value.replace(/^.*[/\\]/s, "");
  }
  if (name === undefined) throw malformed();
  return { name, fileName };
}

async function* one(bytes: Buffer): AsyncGenerator<Buffer, void> {
  if (bytes.length > 0) yield bytes;
}

const ONE_FILE = "POST requires exactly one file upload per request.";

function tooLong(): CacheError {
  return refused("MaxPostPreDataLengthExceededError", "Your POST request fields preceding the upload file were too large.");
}

function notLast(): CacheError {
  return refused("MalformedPOSTRequest", `In a form of more than ${IN_MEMORY_BYTES} bytes, the file must be the last field.`);
}

function malformed(): CacheError {
  return refused("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.");
}

function refused(s3Code: S3Code, message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", message, { s3Code });
}
