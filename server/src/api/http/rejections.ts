import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { bearerFromBasic, WRONG_TOKEN } from "../../security/tokens.js";
import { nextRequestId } from "../request-id.js";
import { type ErrorResponse, errorDocument, REQUEST_ID_HEADER } from "../s3/error-response.js";
import type { HttpContext } from "./http-context.js";
import { isProbe, type Pages } from "./pages.js";

const UNAUTHENTICATED: ErrorResponse = {
  status: 401,
  code: "AccessDenied",
  errorCode: "UNAUTHENTICATED",
  message: `no trusted client certificate, or ${WRONG_TOKEN}`,
  headers: ["WWW-Authenticate", "Bearer"],
};

/** S3's answer. Its clients take 401 for a defect of the server. */
const DENIED: ErrorResponse = { ...UNAUTHENTICATED, status: 403, headers: [] };

/** S3's answer to an access key that it does not know. */
const UNKNOWN_KEY: ErrorResponse = { ...DENIED, code: "InvalidAccessKeyId" };

/** Makes a browser ask its user for a password. */
const PASSWORD_REQUESTED: ErrorResponse = {
  ...UNAUTHENTICATED,
  message: `${UNAUTHENTICATED.message}; browsers: a token as the password, with any user name`,
  headers: ["WWW-Authenticate", "Bearer", "WWW-Authenticate", 'Basic realm="frontcache"'],
};

/**
 * Returns the response to a request without a valid token or certificate. Undefined: it is a probe, or a browser's request for a
 * page with a token as the password. Browsers send passwords with all requests to an address, also those of a script in an
 * object, so passwords give no access to objects.
 */
export function rejectUnauthenticated(
  { request, authentication, listener }: Pick<HttpContext, "request" | "authentication" | "listener">,
  authorization: string | undefined,
  pages: Pages,
): ErrorResponse | undefined {
  if (listener === "s3") return authorization === undefined ? DENIED : UNKNOWN_KEY;
  const path = (request.url ?? "").split("?", 1)[0]!;
  if (isProbe(path)) return undefined;
  if (!pages.has(path) || !authentication.tokenSuffices) return UNAUTHENTICATED;
  return authentication.accepts(bearerFromBasic(request.headers.authorization)) ? undefined : PASSWORD_REQUESTED;
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
