import { CacheError, type ErrorCode, parseObjectUrl } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { rangeOf, statOf } from "../../testing/origin/requests.js";
import { CredentialsFailure } from "../credentials.js";
import { s3Error } from "./s3-errors.js";

const ref = parseObjectUrl("s3://bucket/key");

function thrown(name: string, status?: number, code?: string): Error {
  const secret = new Error("https://bucket.s3.amazonaws.com/key?X-Amz-Signature=secret\nsecond line");
  return Object.assign(secret, { name, code, $metadata: { httpStatusCode: status } });
}

describe("an error of S3", () => {
  it.each<[string, number | undefined, ErrorCode]>([
    ["NoSuchKey", 404, "NOT_FOUND"],
    ["NotFound", 404, "NOT_FOUND"],
    ["AccessDenied", 403, "PERMISSION_DENIED"],
    ["SomethingNew", 403, "PERMISSION_DENIED"],
    ["InvalidAccessKeyId", 403, "UNAVAILABLE"],
    ["SignatureDoesNotMatch", 403, "UNAVAILABLE"],
    ["SlowDown", 503, "RESOURCE_EXHAUSTED"],
    ["SomethingNew", 429, "RESOURCE_EXHAUSTED"],
    ["ExpiredToken", 400, "UNAVAILABLE"],
    ["RequestTimeTooSkewed", 403, "UNAVAILABLE"],
    ["PermanentRedirect", 301, "UNAVAILABLE"],
    ["KeyTooLongError", 400, "INVALID_ARGUMENT"],
    ["InternalError", 500, "UNAVAILABLE"],
    ["SomethingNew", 599, "UNAVAILABLE"],
    ["Error", undefined, "UNAVAILABLE"],
  ])("called %s with status %s is %s, in one line without the SDK's text", (name, status, code) => {
    const cause = thrown(name, status);
    const error = s3Error(cause, rangeOf(ref, { offset: 0, length: 1 }));
    expect(error).toBeInstanceOf(CacheError);
    expect(error).toMatchObject({ code, cause });
    expect(error.message).toMatch(/^s3:\/\/bucket\/key: [^\n]+$/);
    expect(error.message).not.toContain("secret");
  });

  it("is UNAVAILABLE, with the source's error as its cause, if there are no credentials", () => {
    const cause = new Error("connect ECONNREFUSED 169.254.169.254:80");
    expect(s3Error(new CredentialsFailure("none", { cause }), statOf(ref))).toMatchObject({ code: "UNAVAILABLE", cause });
  });

  it("names the system's code if it is of the network", () => {
    expect(s3Error(thrown("Error", undefined, "ECONNREFUSED"), statOf(ref)).message).toContain("ECONNREFUSED");
  });

  it("has the meaning of 412 and 416 only for requests with a range and a version", () => {
    const pinned = { offset: 7, length: 1, version: "v1" };
    expect(s3Error(thrown("PreconditionFailed", 412), rangeOf(ref, pinned)).code).toBe("FAILED_PRECONDITION");
    expect(s3Error(thrown("InvalidRange", 416), rangeOf(ref, pinned)).code).toBe("OUT_OF_RANGE");
    expect(s3Error(thrown("PreconditionFailed", 412), statOf(ref)).code).toBe("UNAVAILABLE");
  });

  it("is CANCELLED, or the reason of the abort, if the call was aborted", () => {
    expect(s3Error(thrown("AbortError"), statOf(ref, AbortSignal.abort())).code).toBe("CANCELLED");
    const late = new CacheError("DEADLINE_EXCEEDED", "too late");
    expect(s3Error(thrown("NoSuchKey", 404), statOf(ref, AbortSignal.abort(late)))).toBe(late);
  });

  it.each([undefined, null, "text", 7])("is UNAVAILABLE if it is not an Error (%s)", (odd) => {
    expect(s3Error(odd, statOf(ref)).code).toBe("UNAVAILABLE");
  });
});

it("reports a wrong key pair of this member as denied to S3's clients, so that they do not repeat the request", () => {
  const failed = (name: string) => s3Error(thrown(name, 403), statOf(ref));
  expect(failed("SignatureDoesNotMatch")).toMatchObject({ code: "UNAVAILABLE", s3Code: "AccessDenied" });
  expect(failed("InvalidObjectState")).toMatchObject({ code: "PERMISSION_DENIED", s3Code: "InvalidObjectState" });
  expect(failed("ExpiredToken").s3Code).toBeUndefined();
});
