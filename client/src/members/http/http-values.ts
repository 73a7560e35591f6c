import {
  CacheError,
  type Completion,
  conflictReasonOf,
  type ErrorCode,
  errorTable,
  VALUE_HEADERS,
  ValueConflict,
  type ValueDescription,
  type ValueEvent,
  type ValueInfo,
} from "@frontcache/proto";
import { bodyBytes, type HttpBody, type HttpResponse } from "../../http/http-response.js";
import { PieceQueue } from "../piece-queue.js";
import type { CallLimits, MemberAddress } from "../ports.js";
import type { PutValue, ValueAnswerTo, ValueQuestion, ValueTransport, WriteValueRange } from "../value-transport.js";
import { NotSent, type ObjectRequest, type ObjectRequests } from "./object-requests.js";

/** The longest document: a page of a list. */
const MAX_DOCUMENT_BYTES = 64 << 20;
/** Bytes that are received at a time. */
const ROOM_BYTES = 256 << 10;

/** A request as members' HTTP listeners take it. The server's side is `server/src/api/values/value-api.ts`. */
interface WireRequest {
  readonly method: ObjectRequest["method"];
  readonly url: string;
  /** With the question mark. */
  readonly query?: string;
  readonly headers?: ObjectRequest["headers"];
  readonly body?: Uint8Array;
  readonly bodyPieces?: AsyncIterable<Uint8Array>;
  readonly isChunked?: boolean;
  readonly isRepeatable?: boolean;
}

/** Requests about values over HTTP/1.1. */
export function httpValues(requests: Pick<ObjectRequests, "exchange">): ValueTransport {
  const exchange = async (address: MemberAddress, wire: WireRequest, limits: CallLimits): Promise<HttpResponse> => {
    const { url, method, headers = {}, body, bodyPieces, isChunked, isRepeatable = false } = wire;
    const request = { method, subject: url, path: pathOf(wire), headers, body, bodyPieces, isChunked, isRepeatable };
    const response = await requests.exchange(address, request, limits);
    if (response.status < 300) return response;
    throw await errorOf(response, wire);
  };
  const document = async <Answer>(address: MemberAddress, wire: WireRequest, limits: CallLimits): Promise<Answer> => {
    const { body } = await exchange(address, wire, limits);
    const text = (await bodyBytes(body, MAX_DOCUMENT_BYTES, "reject")).toString("utf8");
    return (text === "" ? undefined : JSON.parse(text)) as Answer;
  };
  return {
    async ask<Q extends ValueQuestion>(address: MemberAddress, question: Q, limits: CallLimits): Promise<ValueAnswerTo<Q>> {
      const wire = wireOf(question);
      if (question.kind === "head") return valueIn(await exchange(address, wire, limits)) as ValueAnswerTo<Q>;
      if (question.kind !== "delete") return await document<ValueAnswerTo<Q>>(address, wire, limits);
      const existed = document(address, wire, limits).then(
        () => true,
        (error: unknown) => {
          if (CacheError.from(error).code === "NOT_FOUND") return false;
          throw error;
        },
      );
      return (await existed) as ValueAnswerTo<Q>;
    },
    send: (address, request, limits) => document(address, sendingOf(request), limits),
    async open(address, { url, offset, length, follow }, limits) {
      const isWhole = offset === 0 && length === 0;
      const range = isWhole ? undefined : `bytes=${offset}-${length === 0 ? "" : offset + length - 1}`;
      const headers = { Range: range, [VALUE_HEADERS.follow]: follow ? "1" : undefined };
      const response = await exchange(address, { method: "GET", url, headers, isRepeatable: true }, limits);
      const { body } = response;
      const info = valueIn(response);
      return {
        info,
        whole: () => bodyBytes(body, info.size, "reject"),
        pieces: () => piecesOf(body, url),
        destroy: () => body.destroy(),
      };
    },
    async monitor(address, { bucket, prefix }, limits) {
      const url = `cache://${bucket}`;
      const query = `?monitor&prefix=${encodeURIComponent(prefix)}`;
      const { body } = await exchange(address, { method: "GET", url, query, isRepeatable: true }, limits);
      return { events: () => eventsIn(piecesOf(body, url)), destroy: () => body.destroy() };
    },
  };
}

function wireOf(question: ValueQuestion): WireRequest {
  const { url } = question;
  switch (question.kind) {
    case "head":
      return { method: "HEAD", url, isRepeatable: true };
    case "delete":
      return { method: "DELETE", url, isRepeatable: true };
    case "completion":
      return { method: "GET", url, query: "?upload", isRepeatable: true };
    case "abort":
      return { method: "DELETE", url, query: "?upload", isRepeatable: true };
    case "list": {
      const { prefix, after } = question;
      const query = `?list&prefix=${encodeURIComponent(prefix)}&after=${encodeURIComponent(after)}`;
      return { method: "GET", url, query, isRepeatable: true };
    }
    case "begin": {
      const headers = { ...headersOf(question.description), [VALUE_HEADERS.size]: String(question.size) };
      return { method: "POST", url, query: "?begin", headers };
    }
    case "finalize":
      return { method: "POST", url, query: "?finalize", headers: { [VALUE_HEADERS.ttl]: question.ttlSeconds?.toString() } };
    case "lock": {
      const query = `?lock=${question.seconds}&holder=${encodeURIComponent(question.holder)}`;
      return { method: "POST", url, query, isRepeatable: true };
    }
    case "unlock":
      return { method: "POST", url, query: `?unlock&holder=${encodeURIComponent(question.holder)}`, isRepeatable: true };
  }
}

function sendingOf(request: PutValue | WriteValueRange): WireRequest {
  const { url } = request;
  if (request.kind === "writeRange") {
    return { method: "PUT", url, query: `?offset=${request.offset}`, body: request.body, isRepeatable: true };
  }
  const { description, ifMissing, whileWritten, body } = request;
  const headers = {
    ...headersOf(description),
    "If-None-Match": ifMissing ? "*" : undefined,
    [VALUE_HEADERS.whileWritten]: whileWritten,
  };
  const put = { method: "PUT", url } as const;
  if (body instanceof Uint8Array) {
    return { ...put, headers, body, isRepeatable: !ifMissing && whileWritten !== "refuse" };
  }
  const { pieces, size } = body;
  if (size !== undefined) return { ...put, headers: { ...headers, "Content-Length": String(size) }, bodyPieces: pieces };
  return { ...put, headers, bodyPieces: pieces, isChunked: true };
}

function headersOf({ ttlSeconds, flags, metadata = {}, contentType }: ValueDescription): Record<string, string | undefined> {
  const headers: Record<string, string | undefined> = {
    [VALUE_HEADERS.ttl]: ttlSeconds?.toString(),
    [VALUE_HEADERS.flags]: flags?.toString(),
    "Content-Type": contentType,
  };
  for (const [name, value] of Object.entries(metadata)) {
    headers[`${VALUE_HEADERS.metadata}${name}`] = encodeURIComponent(value);
  }
  return headers;
}

function pathOf({ url, query = "" }: WireRequest): string {
  const [bucket, ...key] = url.slice("cache://".length).split("/");
  return `/values/${bucket}${key.length === 0 ? "" : `/${key.map(encodeURIComponent).join("/")}`}${query}`;
}

/** The value that a response describes in its head. */
function valueIn({ head }: HttpResponse): ValueInfo {
  const text = head.header(VALUE_HEADERS.value);
  if (text === undefined) throw new CacheError("INTERNAL", "the member does not describe the value: it is of another version");
  return JSON.parse(decodeURIComponent(text)) as ValueInfo;
}

async function errorOf({ status, head, body }: HttpResponse, { url, bodyPieces }: WireRequest): Promise<CacheError> {
  const text = (await bodyBytes(body, 1 << 20, "cut")).toString("utf8");
  let answer: { code?: string; message?: string; reason?: string; completion?: Completion } = {};
  try {
    answer = JSON.parse(text) as typeof answer;
  } catch {
    // A HEAD has no body, and a proxy another one.
  }
  const named = answer.code ?? head.header("frontcache-error");
  const code = named !== undefined && named in errorTable ? (named as ErrorCode) : status === 404 ? "NOT_FOUND" : "UNAVAILABLE";
  const message = answer.message ?? `${url}: the member answered ${status}`;
  const reason = conflictReasonOf(answer.reason);
  if (reason !== undefined) return new ValueConflict(reason, message, answer.completion);
  // A member that starts or shuts down has not begun. Pieces may have been sent, and are not there any more.
  const isNotSent = code === "UNAVAILABLE" && !head.keepAlive && bodyPieces === undefined;
  return isNotSent ? new NotSent(message) : new CacheError(code, message);
}

/** The bytes of a body as they arrive. Ending the loop early closes the connection. */
async function* piecesOf(body: HttpBody, url: string): AsyncGenerator<Buffer, void> {
  const queue = new PieceQueue<Buffer>(body, ({ length }) => length);
  let room = Buffer.allocUnsafeSlow(ROOM_BYTES);
  const landing = {
    room: (): Buffer => room,
    landed: (bytes: number): void => {
      queue.push(room.subarray(0, bytes));
      room = room.length - bytes > ROOM_BYTES / 4 ? room.subarray(bytes) : Buffer.allocUnsafeSlow(ROOM_BYTES);
    },
  };
  const early = `${url}: the value ended early: its writer or the member has ended`;
  Promise.resolve(body.land(landing)).then(
    () => queue.end(),
    (cause: unknown) => queue.end(cause instanceof CacheError ? cause : new CacheError("UNAVAILABLE", early, { cause })),
  );
  try {
    yield* queue.pieces();
  } finally {
    if (!queue.isOver) body.destroy();
  }
}

/** One event a line; empty lines say that the member is there. */
async function* eventsIn(pieces: AsyncIterable<Buffer>): AsyncGenerator<ValueEvent, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) if (line !== "") yield JSON.parse(line) as ValueEvent;
  }
}
