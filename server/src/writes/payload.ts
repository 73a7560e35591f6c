import type { BodyPieces } from "@frontcache/client/http";
import { CacheError, type S3Code } from "@frontcache/proto";
import type { ChunkSignatures } from "../security/signatures/signer.js";
import { BodyChecksums, checksumLength, type ExpectedChecksums, isChecksumHeader } from "./checksums.js";
import { ChunkedBody, type ChunkedFraming } from "./chunked-body.js";

/** The largest body that S3 takes in one request. */
const MAX_BYTES = 5 * 2 ** 30;

const LENGTH = /^\d{1,15}$/;
const SHA256 = /^[0-9a-f]{64}$/;

/** The bytes of a request's body as they arrive: in pieces, or in memory of the caller. */
export interface ReceivedPieces extends AsyncIterable<Buffer>, Pick<BodyPieces, "taken"> {
  /**
   * Receives the next bytes into memory. Resolves with their number when the memory is full, or nothing followed for some milliseconds;
   * with
   * 0 at the end of the body. Use it or the pieces. Absent: use the pieces.
   */
  receive?(target: Uint8Array): Promise<number>;
}

/** The body of a request as it arrives. */
export interface ReceivedBody {
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The bytes as sent. The client is asked for them when the first is read. */
  readonly bytes: ReceivedPieces;
  /** Verifies the signatures of chunks. Undefined: nothing is verified, because nobody verified the signature of the head. */
  readonly signatures: ChunkSignatures | undefined;
  /** The headers with checksums are those of something else than the body: of a whole multipart upload. Absent: of the body. */
  readonly hasOtherChecksums?: boolean | undefined;
}

/** The body of a write, which is verified while it arrives. */
export interface WriteBody {
  /** Decoded bytes. Undefined: unknown. */
  readonly length: number | undefined;
  /** The checksum that follows the body. Undefined: none. */
  readonly trailer: string | undefined;
  /** The value of the checksum that followed the body. Undefined: the body has no trailer, or was not read to its end. */
  readonly trailerValue: string | undefined;
  /** How long the value of the checksum after the body is as text. 0: the body has no trailer. */
  readonly trailerLength: number;
  /**
   * All bytes, in pieces. The last piece follows only when the whole body is verified and `beforeLast` has resolved, so that a receiver
   * that knows the length never gets all of a damaged body. An empty body has no piece. Throws S3's error. The memory of a piece is
   * freed some time after `taken`. `receive` gives all bytes, and throws at the end of a damaged body.
   */
  pieces(beforeLast: () => Promise<void>): ReceivedPieces;
  /** The whole body in memory. Rejects with S3's error, without reading it, if it is longer than `maxBytes`. */
  whole(maxBytes: number): Promise<Buffer>;
}

/** Bytes that arrive, and what they must be. */
export interface ArrivingBody {
  /** The bytes as they arrive. */
  readonly received: ReceivedPieces;
  /** The same, decoded. */
  readonly decoded: AsyncIterable<Buffer>;
  /** Decoded bytes. Undefined: unknown. */
  readonly length: number | undefined;
  readonly checksums: BodyChecksums;
  /** The checksum after the body. Absent: none. */
  readonly trailer?: { readonly name: string; value(): string | undefined } | undefined;
}

/** Verifies bytes while they arrive: their number and their checksums. */
export class VerifiedBody implements WriteBody {
  readonly length: number | undefined;
  readonly #arriving: ArrivingBody;
  #takenBytes = 0;

  constructor(arriving: ArrivingBody) {
    this.length = arriving.length;
    this.#arriving = arriving;
  }

  get trailer(): string | undefined {
    return this.#arriving.trailer?.name;
  }

  get trailerLength(): number {
    return this.trailer === undefined ? 0 : checksumLength(this.trailer);
  }

  get trailerValue(): string | undefined {
    return this.#arriving.trailer?.value();
  }

  pieces(beforeLast: () => Promise<void>): ReceivedPieces {
    const { received, decoded } = this.#arriving;
    const verified = this.#verified(beforeLast);
    const pieces: ReceivedPieces = {
      [Symbol.asyncIterator]: () => verified,
      taken: (piece) => received.taken?.(piece),
    };
    if (received.receive === undefined || decoded !== received) return pieces;
    let isReceived = false;
    return {
      ...pieces,
      [Symbol.asyncIterator]: () => (isReceived ? received[Symbol.asyncIterator]() : verified),
      receive: (target) => {
        isReceived = true;
        return this.#receive(target, beforeLast);
      },
    };
  }

  async whole(maxBytes: number): Promise<Buffer> {
    const tooLarge = () => refused("EntityTooLarge", `The body has more than ${maxBytes} bytes.`);
    if (this.length !== undefined && this.length > maxBytes) throw tooLarge();
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of this.#verified(async () => {})) {
      bytes += piece.length;
      if (bytes > maxBytes) throw tooLarge();
      pieces.push(piece);
    }
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  }

  async *#verified(beforeLast: () => Promise<void>): AsyncGenerator<Buffer, void> {
    let last: Buffer | undefined;
    for await (const piece of this.#arriving.decoded) {
      if (piece.length === 0) continue;
      this.#take(piece);
      if (last !== undefined) yield last;
      last = piece;
    }
    this.#verify();
    await beforeLast();
    if (last !== undefined) yield last;
  }

  async #receive(target: Uint8Array, beforeEnd: () => Promise<void>): Promise<number> {
    const bytes = await this.#arriving.received.receive!(target);
    if (bytes > 0) {
      this.#take(target.subarray(0, bytes));
      return bytes;
    }
    this.#verify();
    await beforeEnd();
    return 0;
  }

  #take(piece: Uint8Array): void {
    const { length = Number.POSITIVE_INFINITY, checksums } = this.#arriving;
    this.#takenBytes += piece.length;
    if (this.#takenBytes > length) throw incomplete(`more than the announced ${length} bytes arrived`);
    checksums.update(piece);
  }

  #verify(): void {
    const { length, checksums } = this.#arriving;
    if (length !== undefined && this.#takenBytes < length) throw incomplete(`${this.#takenBytes} of ${length} bytes arrived`);
    checksums.verify(this.trailerValue);
  }
}

/**
 * The body of a write, decoded and verified while it arrives. `x-amz-content-sha256` says how it is framed, not Content-Encoding: some
 * clients leave `aws-chunked` out, and one sends it without a body.
 */
export class Payload extends VerifiedBody {
  declare readonly length: number;

  /** Throws S3's error for headers that contradict each other or are malformed. */
  constructor({ headers, bytes, signatures, hasOtherChecksums = false }: ReceivedBody) {
    const framing = framingOf(headers);
    const [name] = framing?.trailers ?? [];
    const chunked = framing && new ChunkedBody({ ...framing, signatures: framing.isSigned ? signatures : undefined });
    super({
      received: bytes,
      decoded: chunked === undefined ? bytes : chunked.decode(bytes),
      length: lengthOf(headers, framing !== undefined),
      checksums: new BodyChecksums(expectedOf(headers, name, hasOtherChecksums)),
      trailer: name === undefined ? undefined : { name, value: () => chunked?.trailers.get(name) },
    });
  }
}

function framingOf(headers: ReceivedBody["headers"]): Omit<ChunkedFraming, "signatures"> | undefined {
  const payload = textOf(headers, "x-amz-content-sha256");
  const announced = textOf(headers, "x-amz-trailer");
  const trailers = (announced ?? "")
    .split(",")
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "");
  switch (payload) {
    case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": {
      const [trailer] = trailers;
      if (trailers.length !== 1 || !isChecksumHeader(trailer!)) {
        throw refused("InvalidRequest", "The value specified in the x-amz-trailer header is not supported");
      }
      return { isSigned: payload.startsWith("STREAMING-AWS4"), trailers };
    }
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
      if (trailers.length > 0) throw refused("InvalidRequest", `x-amz-trailer contradicts x-amz-content-sha256: ${payload}`);
      return { isSigned: true, trailers };
    default:
      if (trailers.length > 0) throw refused("InvalidRequest", "x-amz-trailer requires a streaming x-amz-content-sha256");
      if (payload?.startsWith("STREAMING-")) throw refused("NotImplemented", `x-amz-content-sha256: ${payload} is not supported`);
      if (payload === undefined || payload === "UNSIGNED-PAYLOAD" || SHA256.test(payload)) return undefined;
      throw refused(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
      );
  }
}

function lengthOf(headers: ReceivedBody["headers"], isChunked: boolean): number {
  const name = isChunked ? "x-amz-decoded-content-length" : "content-length";
  const text = textOf(headers, name);
  const hasBody = headers["transfer-encoding"] !== undefined || (isChunked && textOf(headers, "content-length") !== "0");
  if (text === undefined && !hasBody) return 0;
  if (text === undefined || !LENGTH.test(text))
    throw new CacheError("INVALID_ARGUMENT", `You must provide the ${name} header.`, { s3Code: "MissingContentLength" });
  const length = Number(text);
  if (length > MAX_BYTES) throw refused("EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.");
  return length;
}

function expectedOf(headers: ReceivedBody["headers"], trailer: string | undefined, hasOthers: boolean): ExpectedChecksums {
  const payload = textOf(headers, "x-amz-content-sha256");
  const sent = hasOthers ? [] : Object.keys(headers).filter(isChecksumHeader);
  return {
    contentMd5: textOf(headers, "content-md5"),
    hashes: hasOthers ? undefined : textOf(headers, "x-goog-hash"),
    payloadSha256: payload !== undefined && SHA256.test(payload) ? payload : undefined,
    headers: sent.map((name) => [name, textOf(headers, name)!] as const),
    trailer,
  };
}

function textOf(headers: ReceivedBody["headers"], name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}

function incomplete(why: string): CacheError {
  return refused(
    "IncompleteBody",
    `You did not provide the number of bytes specified by the Content-Length HTTP header: ${why}.`,
  );
}

function refused(s3Code: S3Code, message: string): CacheError {
  return new CacheError("INVALID_ARGUMENT", message, { s3Code });
}
