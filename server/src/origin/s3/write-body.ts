import { hash } from "node:crypto";
import type { Header } from "../../security/signatures/signer.js";
import type { BodyTrailer, StreamedBody, WriteRequest } from "../origin.js";
import type { SentBody, SentWrite } from "../sent-write.js";

/** Bytes of a chunk of a body with a trailer. Stores need at least 8 KiB. */
const CHUNK_BYTES = 1 << 20;

/** A write's headers and body as S3 gets them, with the hash to sign. A body with a trailer has the form `aws-chunked`. */
export function writeBody(
  { headers, body, ref }: WriteRequest,
  sent: SentWrite,
): { readonly headers: readonly Header[]; readonly payloadHash: string; readonly body: SentBody } {
  if (body instanceof Uint8Array) {
    const length: Header = ["content-length", String(body.length)];
    return { headers: [...headers, length], payloadHash: hash("sha256", body), body: sent.begin() };
  }
  const { trailer, length, sha256 } = body;
  if (length === undefined) throw new TypeError(`${ref.url}: S3 takes no body of unknown length`);
  if (trailer === undefined) {
    const all: Header[] = [...headers, ["content-length", String(length)]];
    return { headers: all, payloadHash: sha256 ?? "UNSIGNED-PAYLOAD", body: sent.begin() };
  }
  const encoding = headers.find(([name]) => name === "content-encoding")?.[1];
  const all: Header[] = [
    ...headers.filter(([name]) => name !== "content-encoding"),
    ["content-encoding", encoding === undefined ? "aws-chunked" : `aws-chunked,${encoding}`],
    ["content-length", String(framedLength(length, trailer))],
    ["x-amz-decoded-content-length", String(length)],
    ["x-amz-trailer", trailer.name],
  ];
  const framed = framedPieces(body, length, trailer);
  return { headers: all, payloadHash: "STREAMING-UNSIGNED-PAYLOAD-TRAILER", body: sent.begin(framed) };
}

/** The form `aws-chunked` of a body, without signatures. */
async function* framedPieces({ pieces }: StreamedBody, length: number, trailer: BodyTrailer): AsyncGenerator<Uint8Array, void> {
  let [left, inChunk] = [length, 0];
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      let head = "";
      if (inChunk === 0) {
        inChunk = Math.min(CHUNK_BYTES, left);
        head = `${left === length ? "" : "\r\n"}${inChunk.toString(16)}\r\n`;
      }
      if (head !== "") yield Buffer.from(head, "latin1");
      const part = piece.subarray(at, Math.min(piece.length, at + inChunk));
      at += part.length;
      inChunk -= part.length;
      left -= part.length;
      yield part;
    }
  }
  yield Buffer.from(`${length === 0 ? "" : "\r\n"}0\r\n${trailer.name}:${trailer.value()}\r\n\r\n`, "latin1");
}

function framedLength(length: number, { name, valueLength }: BodyTrailer): number {
  const chunks = Math.floor(length / CHUNK_BYTES);
  const rest = length % CHUNK_BYTES;
  const framingOf = (bytes: number): number => bytes.toString(16).length + 4;
  const data = length + chunks * framingOf(CHUNK_BYTES) + (rest === 0 ? 0 : framingOf(rest));
  return data + 3 + name.length + 1 + valueLength + 4;
}
