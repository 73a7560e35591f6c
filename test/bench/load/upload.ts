import { once } from "node:events";
import { connect } from "node:net";
import { crc32 } from "node:zlib";
import { MiB } from "../stage.js";

/** The bytes of all uploads, again and again. */
const PIECE = Buffer.alloc(MiB, "frontcache");

/** How the checksum of a body is sent. */
export type UploadForm =
  /** None. */
  | "plain"
  /** CRC32 in a header. */
  | "crc32"
  /** CRC32 behind the body, in chunks of 64 KiB: what SDKs send over TLS. */
  | "trailer";

/** The piece in chunks of `aws-chunked`, without the end of the last one. */
function chunked(bytes: Buffer, chunkBytes: number): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    pieces.push(Buffer.from(`${chunkBytes.toString(16)}\r\n`), bytes.subarray(at, at + chunkBytes), Buffer.from("\r\n"));
  }
  return Buffer.concat(pieces);
}

const CHUNKED = chunked(PIECE, 64 << 10);

/** A body of this many MiB, made before it is sent, so that sending costs as little as possible. */
export interface Upload {
  readonly head: string;
  readonly piece: Buffer;
  readonly pieces: number;
  readonly end: string;
}

export function uploadOf(path: string, mebibytes: number, form: UploadForm): Upload {
  let checksum = 0;
  if (form !== "plain") for (let each = 0; each < mebibytes; each++) checksum = crc32(PIECE, checksum);
  const text = Buffer.alloc(4);
  text.writeUInt32BE(checksum);
  const crc = text.toString("base64");
  const bytes = mebibytes * MiB;
  const lines = [`PUT ${path} HTTP/1.1`, "Host: 127.0.0.1", "Connection: close"];
  if (form !== "trailer") {
    lines.push(`Content-Length: ${bytes}`, "x-amz-content-sha256: UNSIGNED-PAYLOAD");
    if (form === "crc32") lines.push(`x-amz-checksum-crc32: ${crc}`);
    return { head: `${lines.join("\r\n")}\r\n\r\n`, piece: PIECE, pieces: mebibytes, end: "" };
  }
  const end = `0\r\nx-amz-checksum-crc32:${crc}\r\n\r\n`;
  lines.push(`Content-Length: ${mebibytes * CHUNKED.length + end.length}`, `x-amz-decoded-content-length: ${bytes}`);
  lines.push("x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-trailer: x-amz-checksum-crc32");
  return { head: `${lines.join("\r\n")}\r\n\r\n`, piece: CHUNKED, pieces: mebibytes, end };
}

/** Sends an upload on a new connection, and resolves when it is answered with 200. */
export async function sendUpload(port: number, { head, piece, pieces, end }: Upload): Promise<void> {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  let answer = "";
  socket.on("data", (bytes: Buffer) => {
    answer += bytes.toString("latin1");
  });
  await once(socket, "connect");
  const answered = once(socket, "data");
  const closed = once(socket, "close").then(() => {
    if (!answer.startsWith("HTTP/1.1 200")) throw new Error(`the upload was not taken: ${answer}`);
  });
  answered.catch(() => {});
  closed.catch(() => {});
  socket.write(head, "latin1");
  for (let sent = 0; sent < pieces; sent++) {
    if (!socket.write(piece)) await Promise.race([once(socket, "drain"), closed]);
  }
  if (end !== "") socket.write(end, "latin1");
  await Promise.race([answered, closed]);
  socket.end();
  await closed;
}
