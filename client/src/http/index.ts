/**
 * The internal entry of the package, for `@frontcache/server`: the client of HTTP/1.1 by which members and clients receive bytes. It
 * is not part of the public API and may change with any release.
 */
export { addressOf, ProxyError } from "./dial.js";
export type { BodyPieces } from "./exchange.js";
export { HttpClient, type HttpClientOptions, type HttpRequest } from "./http-client.js";
export { bodyBytes, type HttpBody, type HttpResponse, type Landing } from "./http-response.js";
export { InvalidResponse, ResponseHead } from "./response-head.js";
export { type HttpClock, type Timed, Timeouts } from "./timeouts.js";
