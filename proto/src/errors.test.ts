import { status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { abortError, CacheError, type ErrorCode, errorCodeOfGrpc, errorTable } from "./errors.js";

describe("the error table", () => {
  it("has gRPC's number for each code that exists in gRPC", () => {
    for (const [code, { grpc }] of Object.entries(errorTable)) expect([code, grpc]).toEqual([status[grpc], grpc]);
  });

  it("maps every code to a distinct gRPC status and back", () => {
    for (const [code, kind] of Object.entries(errorTable)) expect(errorCodeOfGrpc(kind.grpc)).toBe(code);
    expect(new Set(Object.values(errorTable).map((kind) => kind.grpc)).size).toBe(Object.keys(errorTable).length);
  });

  it("treats statuses that no member sends as defects", () => {
    expect(errorCodeOfGrpc(status.DATA_LOSS)).toBe("INTERNAL");
  });
});

describe("a CacheError", () => {
  it("is returned unchanged by CacheError.from", () => {
    const error = new CacheError("NOT_FOUND", "s3://b/k: no such object");
    expect(CacheError.from(error)).toBe(error);
    expect([error.grpcStatus, error.httpStatus, error.retryable]).toEqual([status.NOT_FOUND, 404, false]);
  });

  it("has stack frames only if its code is not an expected outcome", () => {
    const limit = Error.stackTraceLimit;
    for (const [code, { expected }] of Object.entries(errorTable)) {
      const { stack } = new CacheError(code as ErrorCode, "what happened");
      expect([code, stack?.includes("\n    at ")]).toEqual([code, !expected]);
      expect(stack).toContain("what happened");
    }
    expect(Error.stackTraceLimit).toBe(limit);
  });

  it("has a message of one line for any key", () => {
    const { message } = new CacheError("NOT_FOUND", "s3://b/a\r\nb\u0000\u007f\u2028é🐘: no such object");
    expect(message).toBe("s3://b/a\\u000d\\u000ab\\u0000\\u007f\\u2028é🐘: no such object");
  });

  it("is created from any thrown value without exposing it", () => {
    for (const thrown of [new Error("secret"), "secret", undefined, { code: 14 }]) {
      const error = CacheError.from(thrown);
      expect(error.code).toBe("INTERNAL");
      expect(error.message).not.toContain("secret");
      expect(error.cause).toBe(thrown);
    }
  });

  it("distinguishes an abort from a deadline", () => {
    expect(abortError(AbortSignal.abort()).code).toBe("CANCELLED");
    const reason = new DOMException("late", "TimeoutError");
    expect(abortError(AbortSignal.abort(reason)).code).toBe("DEADLINE_EXCEEDED");
  });
});
