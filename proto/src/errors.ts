import { status } from "@grpc/grpc-js";

/** What one kind of failure is called on each wire, and whether the same request may succeed later. */
export interface ErrorKind {
  readonly grpc: status;
  readonly http: number;
  readonly retryable: boolean;
  /** When it happens, for the documentation. */
  readonly condition: string;
}

/** The one error table. Its keys are the closed list of codes; docs/errors.md is tested against it. */
export const errorTable = {
  INVALID_ARGUMENT: {
    grpc: status.INVALID_ARGUMENT,
    http: 400,
    retryable: false,
    condition: "malformed URL, unknown scheme, bad range",
  },
  UNAUTHENTICATED: { grpc: status.UNAUTHENTICATED, http: 401, retryable: false, condition: "missing or wrong token" },
  PERMISSION_DENIED: {
    grpc: status.PERMISSION_DENIED,
    http: 403,
    retryable: false,
    condition: "bucket not allowed, or the origin says forbidden",
  },
  NOT_FOUND: { grpc: status.NOT_FOUND, http: 404, retryable: false, condition: "no such object" },
  FAILED_PRECONDITION: {
    grpc: status.FAILED_PRECONDITION,
    http: 412,
    retryable: false,
    condition: "the object is not, or not any more, of the version asked for",
  },
  OUT_OF_RANGE: { grpc: status.OUT_OF_RANGE, http: 416, retryable: false, condition: "offset at or past the object's end" },
  RESOURCE_EXHAUSTED: { grpc: status.RESOURCE_EXHAUSTED, http: 429, retryable: true, condition: "origin limits reached" },
  CANCELLED: { grpc: status.CANCELLED, http: 499, retryable: false, condition: "the reader went away" },
  INTERNAL: { grpc: status.INTERNAL, http: 500, retryable: false, condition: "a defect of ours" },
  UNAVAILABLE: {
    grpc: status.UNAVAILABLE,
    http: 503,
    retryable: true,
    condition: "origin or owner out of reach, after retries",
  },
  DEADLINE_EXCEEDED: { grpc: status.DEADLINE_EXCEEDED, http: 504, retryable: true, condition: "deadline over" },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorTable;

const codeOfGrpc = new Map<status, ErrorCode>(
  (Object.keys(errorTable) as ErrorCode[]).map((code) => [errorTable[code].grpc, code]),
);

/** The code for a gRPC status; statuses that we never send count as defects of the other side: INTERNAL. */
export function errorCodeOfGrpc(grpc: status): ErrorCode {
  return codeOfGrpc.get(grpc) ?? "INTERNAL";
}

/** Keys may hold line breaks and other control characters. In messages, which are lines of logs, they are written as escapes. */
function oneLine(message: string): string {
  return message.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/**
 * The only error that crosses a border of frontcache. Its message is one line for the reader: the object, the offset,
 * what to do. What lies behind it is the `cause`, which goes to the log and never over a wire.
 */
export class CacheError extends Error {
  override readonly name = "CacheError";

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(oneLine(message), options);
  }

  get grpcStatus(): status {
    return errorTable[this.code].grpc;
  }

  get httpStatus(): number {
    return errorTable[this.code].http;
  }

  /** Whether the same request may succeed later or at another member. */
  get retryable(): boolean {
    return errorTable[this.code].retryable;
  }

  /** Total: a CacheError stays itself, an abort is CANCELLED (a time-out DEADLINE_EXCEEDED), anything else is INTERNAL. */
  static from(error: unknown): CacheError {
    if (error instanceof CacheError) return error;
    if (error instanceof Error) {
      if (error.name === "AbortError") return new CacheError("CANCELLED", "the read was cancelled", { cause: error });
      if (error.name === "TimeoutError") return new CacheError("DEADLINE_EXCEEDED", "the deadline is over", { cause: error });
    }
    return new CacheError("INTERNAL", "unexpected failure, see the member's log", { cause: error });
  }
}

/** The error of an aborted signal: a CacheError given as its reason, else CANCELLED or DEADLINE_EXCEEDED. */
export function abortError(signal: AbortSignal): CacheError {
  return CacheError.from(signal.reason);
}
