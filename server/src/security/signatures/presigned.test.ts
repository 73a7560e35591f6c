import { describe, expect, it } from "vitest";
import { Query } from "../../runtime/query.js";
import { isSignedRequest, mayBePresigned, presignedIn } from "./presigned.js";

const parse = (query: string) => presignedIn(new Query(query));
const v4 = (credential: string, date = "20261101T000000Z", expires = "60") =>
  `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${credential}&X-Amz-Date=${date}&X-Amz-Expires=${expires}&X-Amz-Signature=0`;
const DENIED = expect.objectContaining({ code: "PERMISSION_DENIED", s3Code: "AccessDenied" });
const SIGNED_MS = Date.UTC(2026, 10, 1);

describe("a presigned URL", () => {
  it.each([
    ["id%2F20261101%2Fus-east-1%2Fs3%2Faws4_request", "id"],
    ["id/20261101/us-east-1/s3/aws4_request", "id"],
    ["a%2Fb%2Bc%3D%2F20261101%2Fus-east-1%2Fs3%2Faws4_request", "a/b+c="],
    ["a%2F20251231%2Fb%2F20261101%2Feu%2Fs3%2Faws4_request", "a/20251231/b"],
    ["id%2F20261101%2Fs3%2Faws4_request", "id"],
    ["id%2F20261101", "id"],
    ["id", undefined],
    ["", undefined],
  ])("names the access key of the credential %s", (credential, accessKeyId) => {
    expect(parse(v4(credential))).toEqual({ accessKeyId, expiresAtMs: SIGNED_MS + 60_000 });
  });

  it("may have a signature of version 2", () => {
    expect(parse("AWSAccessKeyId=a%2Fb&Signature=s%3D&Expires=1800000000")).toEqual({ accessKeyId: "a/b", expiresAtMs: 1.8e12 });
    for (const expires of ["", "&Expires=soon", "&Expires=-1", "&Expires=1.5"]) {
      expect(() => parse(`AWSAccessKeyId=a&Signature=s${expires}`)).toThrow(DENIED);
    }
  });

  it.each([
    ["20261101T000000", "60"],
    ["20261301T000000Z", "60"],
    ["", "60"],
    ["20261101T000000Z", ""],
    ["20261101T000000Z", "1e3"],
    ["20261101T000000Z", "-1"],
    ["20261101T000000Z", "604801"],
  ])("is denied with the date %j and the validity %j", (date, expires) => {
    expect(() => parse(v4("id%2F20261101", date, expires))).toThrow(DENIED);
  });

  it("is recognized by its query", () => {
    expect(parse("versionId=a&x-id=GetObject")).toBeUndefined();
    expect(["/b/k?X-Amz-Date=1", "/b/k?a=b&AWSAccessKeyId=c", "/b/X-Amz-", "/b/k?versionId=1"].map(mayBePresigned)).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect([isSignedRequest("AWS a:b", new Query("")), isSignedRequest(undefined, new Query("X-Amz-Signature=0"))]).toEqual([
      true,
      true,
    ]);
    expect(isSignedRequest(undefined, new Query("versionId=1"))).toBe(false);
  });
});
