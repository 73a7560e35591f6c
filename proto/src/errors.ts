/** One kind of failure: its codes in gRPC, HTTP and S3, and whether a retry may succeed. */
export interface ErrorKind {
  /** gRPC's status code. */
  readonly grpc: number;
  /** HTTP's status code. */
  readonly http: number;
  /** The error code in S3's error document. */
  readonly s3: string;
  /** The status code for S3 clients, if they expect another one than `http`. */
  readonly s3Http?: number;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** Whether this is an ordinary outcome. Its errors capture no stack, which would cost 2 % of a miss's CPU. */
  readonly expected: boolean;
  /** The cause, for the documentation. */
  readonly condition: string;
}

/** The one error table. Its keys are the closed list of codes; the README's table of errors is generated from it. */
export const errorTable = {
  INVALID_ARGUMENT: {
    grpc: 3,
    http: 400,
    s3: "InvalidArgument",
    retryable: false,
    expected: false,
    condition: "malformed URL, unknown scheme, bad range",
  },
  UNAUTHENTICATED: {
    grpc: 16,
    http: 401,
    s3: "AccessDenied",
    retryable: false,
    expected: true,
    condition: "missing or wrong token",
  },
  PERMISSION_DENIED: {
    grpc: 7,
    http: 403,
    s3: "AccessDenied",
    retryable: false,
    expected: true,
    condition: "the bucket is not allowed, or the origin denies access",
  },
  NOT_FOUND: {
    grpc: 5,
    http: 404,
    s3: "NoSuchKey",
    retryable: false,
    expected: true,
    condition: "no such object, bucket or version",
  },
  FAILED_PRECONDITION: {
    grpc: 9,
    http: 412,
    s3: "PreconditionFailed",
    retryable: false,
    expected: true,
    condition: "the object's current version differs from the requested one",
  },
  OUT_OF_RANGE: {
    grpc: 11,
    http: 416,
    s3: "InvalidRange",
    retryable: false,
    expected: true,
    condition: "offset at or past the object's end",
  },
  RESOURCE_EXHAUSTED: {
    grpc: 8,
    http: 429,
    s3: "SlowDown",
    s3Http: 503,
    retryable: true,
    expected: true,
    condition: "limits reached: of the origin or of this member",
  },
  CANCELLED: {
    grpc: 1,
    http: 499,
    // Not sent to a client that cancelled. A member that shuts down cancels reads, and another member can answer them.
    s3: "ServiceUnavailable",
    s3Http: 503,
    retryable: false,
    expected: true,
    condition: "the client cancelled the request",
  },
  INTERNAL: {
    grpc: 13,
    http: 500,
    s3: "InternalError",
    retryable: false,
    expected: false,
    condition: "a defect of frontcache",
  },
  UNAVAILABLE: {
    grpc: 14,
    http: 503,
    s3: "ServiceUnavailable",
    retryable: true,
    expected: false,
    condition: "origin, its source of credentials, or owner unreachable after retries",
  },
  DEADLINE_EXCEEDED: {
    grpc: 4,
    http: 504,
    s3: "RequestTimeout",
    retryable: true,
    expected: false,
    condition: "deadline exceeded",
  },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorTable;

/**
 * Codes of S3 that are finer than an ErrorCode, with their HTTP status. An error that has one is answered to S3 clients with it; to all
 * other clients its ErrorCode counts.
 */
export const s3Codes = {
  AuthorizationHeaderMalformed: 400,
  AuthorizationQueryParametersError: 400,
  BadDigest: 400,
  EntityTooLarge: 400,
  EntityTooSmall: 400,
  IncompleteBody: 400,
  IncorrectNumberOfFilesInPostRequest: 400,
  InvalidArgument: 400,
  InvalidDigest: 400,
  InvalidPolicyDocument: 400,
  InvalidRequest: 400,
  MalformedPOSTRequest: 400,
  MalformedTrailerError: 400,
  MalformedXML: 400,
  MaxPostPreDataLengthExceededError: 400,
  RequestTimeout: 400,
  XAmzContentSHA256Mismatch: 400,
  InvalidToken: 400,
  InvalidURI: 400,
  InvalidBucketName: 400,
  KeyTooLongError: 400,
  AccessDenied: 403,
  InvalidAccessKeyId: 403,
  RequestTimeTooSkewed: 403,
  SignatureDoesNotMatch: 403,
  NoSuchBucket: 404,
  NoSuchVersion: 404,
  NoSuchUpload: 404,
  InvalidObjectState: 403,
  QuotaExceeded: 403,
  MethodNotAllowed: 405,
  BucketAlreadyOwnedByYou: 409,
  OperationAborted: 409,
  MissingContentLength: 411,
  InvalidPartNumber: 416,
  InternalError: 500,
  NotImplemented: 501,
} as const satisfies Record<string, number>;

export type S3Code = keyof typeof s3Codes;

/** Returns the code of S3 that another process sent; undefined for any other text. */
export function s3CodeOf(text: string | undefined): S3Code | undefined {
  return text !== undefined && Object.hasOwn(s3Codes, text) ? (text as S3Code) : undefined;
}

const codeOfGrpc = new Map<number, ErrorCode>(
  (Object.keys(errorTable) as ErrorCode[]).map((code) => [errorTable[code].grpc, code]),
);

/** Returns the code for a gRPC status. A status that we never send is a defect of the peer: INTERNAL. */
export function errorCodeOfGrpc(grpc: number): ErrorCode {
  return codeOfGrpc.get(grpc) ?? "INTERNAL";
}

/** Escapes control characters, because object keys may contain line breaks, and a message must be one line in a log. */
function oneLine(message: string): string {
  return message.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** False if intrinsic objects are frozen (`node --frozen-intrinsics`). Then every error captures a stack. */
const canLimitStacks = Object.getOwnPropertyDescriptor(Error, "stackTraceLimit")?.writable === true;

/**
 * The only error class of frontcache's interfaces. Its message is one line: the object, what happened, what to do. Its `cause` is
 * logged and never sent. Errors of expected outcomes have no stack frames (see `ErrorKind.expected`).
 */
export class CacheError extends Error {
  /** `AbortError` or `TimeoutError` if the caller's signal ended the call, so that libraries recognise it. */
  override readonly name: "CacheError" | "AbortError" | "TimeoutError";
  readonly code: ErrorCode;
  /**
   * The origin was asked as often as one read may ask it. Nobody repeats such a request: neither another member nor the client. Over
   * HTTP and gRPC this travels as `TRIED_HEADER`.
   */
  readonly isOriginTried: boolean;
  /** S3's code, if it says more than `code`. */
  readonly s3Code: S3Code | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options?: {
      cause?: unknown;
      isOriginTried?: boolean | undefined;
      s3Code?: S3Code | undefined;
      name?: "AbortError" | "TimeoutError";
    },
  ) {
    const limit = Error.stackTraceLimit;
    if (canLimitStacks && errorTable[code].expected) Error.stackTraceLimit = 0;
    super(oneLine(message), options);
    if (canLimitStacks) Error.stackTraceLimit = limit;
    this.name = options?.name ?? "CacheError";
    this.code = code;
    this.isOriginTried = options?.isOriginTried === true;
    this.s3Code = options?.s3Code;
  }

  get grpcStatus(): number {
    return errorTable[this.code].grpc;
  }

  /** The HTTP status that says the same, for services that pass an error on to clients of their own. */
  get httpStatus(): number {
    return errorTable[this.code].http;
  }

  /** Whether the same request may succeed later or at another member. */
  get retryable(): boolean {
    return errorTable[this.code].retryable;
  }

  /**
   * Converts any error. Returns a CacheError unchanged; an abort becomes CANCELLED, a timeout DEADLINE_EXCEEDED, anything else
   * INTERNAL. Never throws.
   */
  static from(error: unknown): CacheError {
    if (error instanceof CacheError) return error;
    if (error instanceof Error) {
      if (error.name === "AbortError") return new CacheError("CANCELLED", "the read was cancelled", { cause: error });
      if (error.name === "TimeoutError") return new CacheError("DEADLINE_EXCEEDED", "the deadline is over", { cause: error });
    }
    return new CacheError("INTERNAL", "unexpected failure, see the member's log", { cause: error });
  }
}

/** Returns the error of an aborted signal: its reason if that is a CacheError, otherwise CANCELLED or DEADLINE_EXCEEDED. */
export function abortError(signal: AbortSignal): CacheError {
  return CacheError.from(signal.reason);
}
