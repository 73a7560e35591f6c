import { CacheError, type ErrorCode, errorTable, VALUE_HEADERS, type ValueMessage } from "@frontcache/proto";
import { bodyBytes, type HttpResponse } from "../http/http-response.js";
import { orderByAvailability, withFailover } from "../members/failover.js";
import { NotSent, OutcomeUnknown } from "../members/http/object-requests.js";
import { type CallLimits, Unreachable } from "../members/ports.js";
import type { SendWith } from "../writing/sending.js";

/** A range of bytes: `end` is one past the last. */
export interface ByteSpan {
  readonly start: number;
  readonly end: number;
}

/** How much of an upload has been written. Spans are sorted, disjoint and not adjacent. */
export interface Completion {
  readonly size: number;
  readonly presentBytes: number;
  readonly present: readonly ByteSpan[];
  readonly missing: readonly ByteSpan[];
}

/** Why a request conflicts with another one, or with the state of the value. */
export type ConflictReason = "already_started" | "exists" | "incomplete" | "locked" | "finalizing";

/** A request that another one, or the state of the value, stands against. Its code is FAILED_PRECONDITION. */
export class ValueConflict extends CacheError {
  readonly reason: ConflictReason;
  /** Of `incomplete`: what is missing. */
  readonly completion: Completion | undefined;

  constructor(reason: ConflictReason, message: string, completion?: Completion) {
    super("FAILED_PRECONDITION", message);
    this.reason = reason;
    this.completion = completion;
  }
}

/** A request for a value, or for the values of a bucket. */
export interface ValueRequest {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** `cache://bucket/key`. */
  readonly url: string;
  /** With the question mark. Absent: none. */
  readonly query?: string;
  /** Undefined values are left out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: Uint8Array | undefined;
  /** A body that is sent as it is made. `size` undefined: its length is not known. */
  readonly pieces?: { readonly bytes: AsyncIterable<Uint8Array>; readonly size: number | undefined } | undefined;
  /** Whether it may be sent to another member after it may have been seen. */
  readonly isRepeatable: boolean;
}

/** The longest document: a page of a list. */
const MAX_DOCUMENT_BYTES = 64 << 20;

/** Sends a request to the members that keep a value; resolves when the head of a successful response has arrived. */
export async function exchange(
  request: ValueRequest,
  { requests, owners, failover }: SendWith,
  call: CallLimits,
): Promise<HttpResponse> {
  const known = owners.addressesOf(request.url, 0).filter(({ httpAddress }) => httpAddress !== undefined);
  if (known.length === 0) {
    throw new CacheError("UNAVAILABLE", `${request.url}: values need members' HTTP listeners, and the member list names none`);
  }
  let mayRepeat = true;
  const wire = {
    method: request.method,
    subject: request.url,
    path: pathOf(request),
    headers: headersOf(request),
    body: request.body,
    bodyPieces: request.pieces?.bytes,
    isChunked: request.pieces !== undefined && request.pieces.size === undefined,
    isRepeatable: request.isRepeatable && request.pieces === undefined,
  };
  return await withFailover(
    {
      addresses: orderByAvailability(known, failover.breaker),
      mayRepeat: () => mayRepeat,
      at: async (address) => {
        try {
          const response = await requests.exchange(address, wire, call);
          if (response.status < 300) return response;
          throw await errorOf(response, request);
        } catch (error) {
          if (wire.isRepeatable || error instanceof NotSent) throw error;
          mayRepeat = false;
          if (!(error instanceof Unreachable)) throw error;
          throw new OutcomeUnknown(`${error.message}; whether the value was changed is not known`, { cause: error });
        }
      },
    },
    call,
    failover,
  );
}

/** Sends a request, and returns the JSON of its response. */
export async function exchangeDocument<Answer>(request: ValueRequest, using: SendWith, call: CallLimits): Promise<Answer> {
  const { body } = await exchange(request, using, call);
  const text = (await bodyBytes(body, MAX_DOCUMENT_BYTES, "reject")).toString("utf8");
  return (text === "" ? undefined : JSON.parse(text)) as Answer;
}

/** The value that a response describes in its head. */
export function valueIn({ head }: HttpResponse): ValueMessage {
  const text = head.header(VALUE_HEADERS.value);
  if (text === undefined) throw new CacheError("INTERNAL", "the member does not describe the value: it is of another version");
  return JSON.parse(decodeURIComponent(text)) as ValueMessage;
}

function pathOf({ url, query = "" }: ValueRequest): string {
  const [bucket, ...key] = url.slice("cache://".length).split("/");
  return `/values/${bucket}${key.length === 0 ? "" : `/${key.map(encodeURIComponent).join("/")}`}${query}`;
}

function headersOf({ headers = {}, pieces }: ValueRequest): Record<string, string | undefined> {
  if (pieces !== undefined) {
    return { ...headers, "Content-Length": pieces.size === undefined ? undefined : String(pieces.size) };
  }
  return { ...headers };
}

async function errorOf({ status, head, body }: HttpResponse, { url, pieces }: ValueRequest): Promise<CacheError> {
  const text = (await bodyBytes(body, 1 << 20, "cut")).toString("utf8");
  let answer: { code?: string; message?: string; reason?: ConflictReason; completion?: Completion } = {};
  try {
    answer = JSON.parse(text) as typeof answer;
  } catch {
    // A HEAD has no body, and a proxy another one.
  }
  const named = answer.code ?? head.header("frontcache-error");
  const code = named !== undefined && named in errorTable ? (named as ErrorCode) : status === 404 ? "NOT_FOUND" : "UNAVAILABLE";
  const message = answer.message ?? `${url}: the member answered ${status}`;
  if (answer.reason !== undefined) return new ValueConflict(answer.reason, message, answer.completion);
  // A member that starts or shuts down has not begun. Pieces may have been sent, and are not there any more.
  return code === "UNAVAILABLE" && !head.keepAlive && pieces === undefined ? new NotSent(message) : new CacheError(code, message);
}
