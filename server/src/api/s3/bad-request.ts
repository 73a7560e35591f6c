import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { nextRequestId, type Refusal, refusalXml } from "./refusal.js";

const MALFORMED: Refusal = {
  status: 400,
  code: "BadRequest",
  errorCode: "INVALID_ARGUMENT",
  message: "this is not HTTP/1.1 as RFC 9112 has it",
};

/** What the HTTP parser's errors are answered with; all others are MALFORMED. */
const refusals: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    code: "RequestHeaderSectionTooLarge",
    errorCode: "INVALID_ARGUMENT",
    message: "the request's head is too long",
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    code: "RequestTimeout",
    errorCode: "DEADLINE_EXCEEDED",
    message: "the request took too long to arrive",
  },
};

/** Answers what is no request and ends the connection; `begun`: an answer is under way, which must not be mixed up with it. */
export function refuseBytes(error: NodeJS.ErrnoException, socket: Socket, begun: boolean): void {
  const isParserError = error.code?.startsWith("HPE_") === true || error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  if (!isParserError || begun || !socket.writable) {
    socket.destroy();
    return;
  }
  const refusal = refusals[error.code ?? ""] ?? MALFORMED;
  const body = refusalXml(refusal, "", nextRequestId());
  const head =
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}\r\n` +
    `Content-Type: application/xml\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n`;
  socket.write(head + body);
  socket.destroySoon();
}
