import { createHash, type Hash } from "node:crypto";
import { CacheError, type S3Code } from "@frontcache/proto";
import type { ChunkSignatures } from "../security/signatures/signer.js";

/** A body in S3's framing `aws-chunked`. */
export interface ChunkedFraming {
  /** Whether chunks carry signatures. */
  readonly isSigned: boolean;
  /** Verifies the signatures. Undefined: they are ignored, as that of the head is. */
  readonly signatures: ChunkSignatures | undefined;
  /** The trailers that the client has announced, in lower case. */
  readonly trailers: readonly string[];
}

/** The head of a chunk: a size and a signature. */
const MAX_LINE_BYTES = 1 << 10;
/** A checksum and a signature have less than 200 bytes. */
const MAX_TRAILER_BYTES = 8 << 10;

const HEAD = /^([0-9A-Fa-f]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/;
const SIGNATURE_TRAILER = "x-amz-trailer-signature";

/**
 * Decodes `aws-chunked`:
 *
 *     400;chunk-signature=...     or 400
 *     <1,024 bytes>
 *     0;chunk-signature=...       or 0
 *     x-amz-checksum-crc32:...    only with trailers
 *     x-amz-trailer-signature:... only with signatures
 *     <empty line>
 *
 * Its bytes are read as they arrive, without waiting for the end of a chunk: a wrong signature ends the body with an error.
 */
export class ChunkedBody {
  readonly #framing: ChunkedFraming;
  /** Values of the trailers, by name. Complete when the body has been read to its end. */
  readonly trailers = new Map<string, string>();
  #previous: string;
  /** Received and not decoded. */
  #rest: Buffer = Buffer.alloc(0);
  #source: AsyncIterator<Buffer> | undefined;
  /** Whether the head of the last chunk, which is empty, has been read. */
  #isLast = false;

  constructor(framing: ChunkedFraming) {
    this.#framing = framing;
    this.#previous = framing.signatures?.seed ?? "";
  }

  /** The decoded bytes. Throws S3's error if the framing or a signature is wrong. */
  async *decode(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
    this.#source = source[Symbol.asyncIterator]();
    for (;;) {
      const line = await this.#line(MAX_LINE_BYTES);
      const [, size, signature] = HEAD.exec(line) ?? [];
      if (size === undefined || (signature !== undefined) !== this.#framing.isSigned)
        throw incomplete("a chunk's head is malformed");
      const bytes = Number.parseInt(size, 16);
      const hash = this.#framing.signatures === undefined ? undefined : createHash("sha256");
      if (bytes === 0) {
        this.#isLast = true;
        this.#check("chunk", hash, signature);
        await this.#readTrailers();
        await this.#end();
        return;
      }
      yield* this.#data(bytes, hash);
      this.#check("chunk", hash, signature);
      if ((await this.#line(2)) !== "") throw incomplete("a chunk is longer than its head says");
    }
  }

  async *#data(bytes: number, hash: Hash | undefined): AsyncGenerator<Buffer, void> {
    for (let left = bytes; left > 0; ) {
      if (this.#rest.length === 0 && !(await this.#more())) throw incomplete("it ends inside a chunk");
      const piece = this.#rest.length <= left ? this.#rest : this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(piece.length);
      left -= piece.length;
      hash?.update(piece);
      yield piece;
    }
  }

  #check(part: "chunk" | "trailer", hash: Hash | undefined, signature: string | undefined): void {
    const { signatures } = this.#framing;
    if (signatures === undefined || hash === undefined) return;
    const expected = signatures.sign(part, this.#previous, hash.digest("hex"));
    // Both are hexadecimal digests, of which an attacker learns nothing by time: the key signs another text for each body.
    if (signature !== expected) {
      const message = `The signature of a ${part} does not match: the body was changed on its way, or signed by another key.`;
      throw new CacheError("PERMISSION_DENIED", message, { s3Code: "SignatureDoesNotMatch" });
    }
    this.#previous = expected;
  }

  async #readTrailers(): Promise<void> {
    const { trailers, isSigned, signatures } = this.#framing;
    const hash = signatures === undefined ? undefined : createHash("sha256");
    let signature: string | undefined;
    let leftBytes = MAX_TRAILER_BYTES;
    for (;;) {
      const line = await this.#line(leftBytes);
      leftBytes -= line.length;
      if (line === "") break;
      const [, named = "", text = ""] = /^([A-Za-z0-9-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
      const [name, value] = [named.toLowerCase(), text];
      if (name === SIGNATURE_TRAILER && isSigned) {
        signature = value;
        // Some clients send an empty line after the signature, some none.
        continue;
      }
      if (!trailers.includes(name) || this.trailers.has(name))
        throw malformedTrailer(`the trailer ${JSON.stringify(name)} was not announced`);
      this.trailers.set(name, value);
      hash?.update(`${name}:${value}\n`);
    }
    for (const name of trailers) if (!this.trailers.has(name)) throw malformedTrailer(`the trailer ${name} is missing`);
    if (trailers.length > 0) this.#check("trailer", hash, signature);
  }

  /** Nothing may follow. */
  async #end(): Promise<void> {
    if (this.#rest.length > 0 || (await this.#more())) throw incomplete("bytes follow its end");
  }

  /** The next line, without its end. At the end of the body: an empty one, which some clients leave out. */
  async #line(maxBytes: number): Promise<string> {
    for (let from = 0; ; ) {
      const end = this.#rest.indexOf("\r\n", from, "latin1");
      if (end >= 0 && end <= maxBytes) {
        const line = this.#rest.toString("latin1", 0, end);
        this.#rest = this.#rest.subarray(end + 2);
        return line;
      }
      if (end > maxBytes || this.#rest.length > maxBytes + 2) throw incomplete("a line of its framing is too long");
      from = Math.max(0, this.#rest.length - 1);
      const before = this.#rest;
      if (!(await this.#more())) {
        if (before.length > 0) throw incomplete("it ends inside a line of its framing");
        if (!this.#isLast) throw incomplete("its last chunk is missing");
        return "";
      }
      if (before.length > 0) this.#rest = Buffer.concat([before, this.#rest]);
    }
  }

  /** Receives more bytes. Returns whether there are any. */
  async #more(): Promise<boolean> {
    const { done, value } = await this.#source!.next();
    if (done === true) return false;
    this.#rest = value;
    return true;
  }
}

function incomplete(why: string): CacheError {
  return refused("IncompleteBody", `The body is not of the form aws-chunked: ${why}.`);
}

function malformedTrailer(why: string): CacheError {
  return refused("MalformedTrailerError", `The request contained trailing data that was not well-formed: ${why}.`);
}

function refused(s3Code: S3Code, message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", message, { s3Code });
}
