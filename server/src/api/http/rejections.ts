import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { CacheError } from "@frontcache/proto";
import { mayBePresigned } from "../../security/signatures/presigned.js";
import { WRONG_TOKEN } from "../../security/tokens/presented-token.js";
import { nextRequestId } from "../request-id.js";
import { type ErrorResponse, errorDocument, errorResponseOf, REQUEST_ID_HEADER } from "../s3/error-response.js";
import type { HttpContext } from "./http-context.js";
import { isProbe, type Pages } from "./pages.js";

/** Makes a browser ask its user for a password. */
export const PASSWORD_REQUESTED: ErrorResponse = {
  status: 401,
  code: "AccessDenied",
  errorCode: "UNAUTHENTICATED",
  message: `no trusted client certificate, or ${WRONG_TOKEN}; browsers: a token as the password, with any user name`,
  headers: ["WWW-Authenticate", "Bearer", "WWW-Authenticate", 'Basic realm="frontcache"'],
};

/**
 * Returns the response to a request without valid credentials. Undefined: it is a probe, which needs none. `password`: it is for a page,
 * which a browser may request with a token as the password. Browsers send passwords with all requests to an address, also those of a
 * script in an object, so passwords give no access to objects.
 */
export function rejectUnauthenticated(
  { request, authentication, listener }: Pick<HttpContext, "request" | "authentication" | "listener">,
  error: CacheError,
  pages: Pages,
): ErrorResponse | "password" | undefined {
  const path = (request.url ?? "").split("?", 1)[0]!;
  if (listener !== "s3" && isProbe(path)) return undefined;
  const response = errorResponseOf(error);
  if (error.code !== "UNAUTHENTICATED" || error.s3Code !== undefined) return response;
  // S3's answers: that to an access key that it does not know, or that to a request without one. Its clients take 401 for a defect.
  if (listener === "s3") {
    const isSigned = request.headers.authorization !== undefined || mayBePresigned(request.url ?? "");
    return { ...response, status: 403, code: isSigned ? "InvalidAccessKeyId" : "AccessDenied" };
  }
  if (pages.has(path) && authentication.acceptsPasswords) return "password";
  return { ...response, headers: ["WWW-Authenticate", "Bearer"] };
}

/** The response to a request for a page by a principal that may not see it. A browser asks for a password only if it sent none. */
export function deniedPage({ principal, authentication }: HttpContext, error: CacheError): ErrorResponse {
  if (principal.method === "anonymous" && authentication.acceptsPasswords) return PASSWORD_REQUESTED;
  return errorResponseOf(error);
}

const MALFORMED: ErrorResponse = {
  status: 400,
  code: "BadRequest",
  errorCode: "INVALID_ARGUMENT",
  message: "the request is not valid HTTP/1.1 (RFC 9112)",
};

/** Responses to errors of the HTTP parser; all others are MALFORMED. */
const parserErrors: Readonly<Record<string, ErrorResponse>> = {
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

/**
 * Answers bytes that are not an HTTP request, and ends the connection. `begun`: a response has begun, so it only ends the
 * connection.
 */
export function rejectMalformed(error: NodeJS.ErrnoException, socket: Socket, begun: boolean): void {
  const isParserError = error.code?.startsWith("HPE_") === true || error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  if (!isParserError || begun || !socket.writable) {
    socket.destroy();
    return;
  }
  const response = parserErrors[error.code ?? ""] ?? MALFORMED;
  const requestId = nextRequestId();
  const body = errorDocument(response, "", requestId);
  const head =
    `HTTP/1.1 ${response.status} ${STATUS_CODES[response.status]}\r\n` +
    `Content-Type: application/xml\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${REQUEST_ID_HEADER}: ${requestId}\r\nConnection: close\r\n\r\n`;
  socket.write(head + body);
  socket.destroySoon();
}
