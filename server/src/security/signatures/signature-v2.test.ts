import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { bucketOfHost } from "../../runtime/bucket-of-host.js";
import { EXAMPLE_ID, EXAMPLE_SECRET, EXAMPLE_SESSION_TOKEN, exampleIdentities, outcomeOf } from "../../testing/example-keys.js";
import type { PresentedRequest } from "../authenticator.js";
import { SignatureV2Authenticator } from "./signature-v2.js";

/** The time of the examples in S3's documentation. */
const NOW_MS = Date.UTC(2007, 2, 27, 21, 10);
const DATE = "Tue, 27 Mar 2007 21:06:08 +0000";

interface Setting {
  readonly nowMs?: number;
  readonly isEnabled?: boolean;
}

function authenticator({ nowMs = NOW_MS, isEnabled = true }: Setting = {}): SignatureV2Authenticator {
  return new SignatureV2Authenticator({
    file: { current: exampleIdentities, revision: 0 },
    isEnabled,
    bucketOfHost: (host) => (host.startsWith("static.") ? host.split(":")[0] : bucketOfHost(host, ["s3.amazonaws.com"])),
    clock: { nowMs: () => nowMs },
  });
}

/** A request as Node gives it. `lines` are names and values in turn. */
function received(method: string, url: string, lines: readonly string[]): PresentedRequest {
  const headers: Record<string, string> = {};
  for (let at = 0; at < lines.length; at += 2) {
    const name = lines[at]!.toLowerCase();
    headers[name] = headers[name] === undefined ? lines[at + 1]! : `${headers[name]}, ${lines[at + 1]}`;
  }
  return { method, url, headers, rawHeaders: lines };
}

const by = (request: PresentedRequest, setting?: Setting) => outcomeOf(() => authenticator(setting).authenticate(request));

const hmac = (text: string) => createHmac("sha1", EXAMPLE_SECRET).update(text).digest("base64");

/** A request of ada's whose signed text ends as given. */
function signed(method: string, url: string, resource: string, lines: readonly string[] = [], id = EXAMPLE_ID): PresentedRequest {
  const signature = hmac(`${method}\n\n\n${DATE}\n${resource}`);
  return received(method, url, ["Host", "member", "Date", DATE, "Authorization", `AWS ${id}:${signature}`, ...lines]);
}

describe("a signature of version 2 in a header", () => {
  const johnsmith = "johnsmith.s3.amazonaws.com";
  it.each<[string, string, readonly string[], string, number]>([
    [
      "GET",
      "/photos/puppy.jpg",
      ["Host", johnsmith, "Date", "Tue, 27 Mar 2007 19:36:42 +0000"],
      "bWq2s1WEIj+Ydj0vQ697zp+IXMU=",
      Date.UTC(2007, 2, 27, 19, 40),
    ],
    [
      "PUT",
      "/photos/puppy.jpg",
      ["Host", johnsmith, "Content-Type", "image/jpeg", "Date", "Tue, 27 Mar 2007 21:15:45 +0000"],
      "MyyxeRY7whkBe+bq8fHCL/2kKUg=",
      NOW_MS,
    ],
    [
      "GET",
      "/?prefix=photos&max-keys=50&marker=puppy",
      ["Host", johnsmith, "Date", "Tue, 27 Mar 2007 19:42:41 +0000"],
      "htDYFYduRNen8P9ZfE/s9SuKy0U=",
      Date.UTC(2007, 2, 27, 19, 40),
    ],
    [
      "GET",
      "/?acl",
      ["Host", johnsmith, "Date", "Tue, 27 Mar 2007 19:44:46 +0000"],
      "c2WLPFtWHVgbEmeEG93a4cG37dM=",
      Date.UTC(2007, 2, 27, 19, 40),
    ],
    [
      "PUT",
      "/db-backup.dat.gz",
      [
        ...["Host", "static.johnsmith.net:8080", "Date", DATE, "x-amz-acl", "public-read"],
        ...["content-type", "application/x-download", "Content-MD5", "4gJE4saaMU4BqNR0kLY+lw=="],
        ...["X-Amz-Meta-ReviewedBy", "joe@johnsmith.net", "X-Amz-Meta-ReviewedBy", "jane@johnsmith.net"],
        ...["X-Amz-Meta-FileChecksum", "0x02661779", "X-Amz-Meta-ChecksumAlgorithm", "crc32"],
        ...["Content-Disposition", "attachment; filename=database.dat", "Content-Encoding", "gzip"],
      ],
      "ilyl83RwaSoYIEdixDQcA4OnAnc=",
      NOW_MS,
    ],
  ])("of S3's documentation is accepted: %s %s", (method, url, lines, signature, nowMs) => {
    const all = [...lines, "Authorization", `AWS ${EXAMPLE_ID}:${signature}`];
    expect(by(received(method, url, all), { nowMs })).toBe("ada");
    expect(by(received(method === "GET" ? "HEAD" : "GET", url, all), { nowMs })).toBe("SignatureDoesNotMatch");
  });

  it("covers the method, the path, sub-resources and the headers of S3", () => {
    expect(by(signed("GET", "/bucket/key", "/bucket/key"))).toBe("ada");
    expect(by(signed("GET", "/bucket/key?versionId=a&x-id=1", "/bucket/key?versionId=a"))).toBe("ada");
    expect(by(signed("GET", "/bucket/key?versionId=b", "/bucket/key?versionId=a"))).toBe("SignatureDoesNotMatch");
    expect(by(signed("GET", "/bucket/key?acl", "/bucket/key"))).toBe("SignatureDoesNotMatch");
    expect(by(signed("PUT", "/bucket/key", "/bucket/other"))).toBe("SignatureDoesNotMatch");
    expect(by(signed("PUT", "/bucket/key", "/bucket/key", ["x-amz-copy-source", "b/k"]))).toBe("SignatureDoesNotMatch");
    expect(by(signed("GET", "/bucket/key", "/bucket/key", ["frontcache-warm", "1"]))).toBe("AccessDenied");
  });

  it("is refused with a parameter that version 2 does not cover, which would make another request of it", () => {
    for (const name of ["retention", "encryption=", "x=1", "policyStatus", "prefix=a&prefix=b"]) {
      expect(by(signed("GET", `/bucket/key?${name}`, "/bucket/key"))).toBe("AccessDenied");
    }
  });

  it("is valid for a quarter of an hour, at a time that is signed", () => {
    const request = signed("GET", "/bucket/key", "/bucket/key");
    expect(by(request, { nowMs: NOW_MS + 20 * 60_000 })).toBe("RequestTimeTooSkewed");
    expect(by(request, { nowMs: NOW_MS - 20 * 60_000 })).toBe("RequestTimeTooSkewed");
    const dated = (date: string): string => {
      const signature = hmac(`GET\n\n\n\nx-amz-date:${date}\n/bucket/key`);
      return by(received("GET", "/bucket/key", ["x-amz-date", date, "Authorization", `AWS ${EXAMPLE_ID}:${signature}`]));
    };
    expect(dated(DATE)).toBe("ada");
    for (const wrong of ["", "Bad Date", "Tue, 07 Jul 1950 21:53:04 GMT"]) expect(dated(wrong)).toBe("AccessDenied");
    expect(dated("Tue, 07 Jul 9999 21:53:04 GMT")).toBe("RequestTimeTooSkewed");
  });

  it("is refused where version 2 is not enabled, and of another kind if the access key is not known", () => {
    expect(by(signed("GET", "/bucket/key", "/bucket/key"), { isEnabled: false })).toBe("InvalidRequest");
    expect(by(signed("GET", "/bucket/key", "/bucket/key", [], "unknown"), { isEnabled: false })).toBe("none");
    expect(by(received("GET", "/bucket/key", ["Authorization", "Bearer token"]))).toBe("none");
  });

  it("needs the session token of its access key, and no other", () => {
    expect(by(signed("GET", "/bucket/key", "/bucket/key", [], "ASIASESSION"))).toBe("InvalidToken");
    const lines = ["x-amz-security-token", EXAMPLE_SESSION_TOKEN];
    const resource = `x-amz-security-token:${EXAMPLE_SESSION_TOKEN}\n/bucket/key`;
    expect(by(signed("GET", "/bucket/key", resource, lines, "ASIASESSION"))).toBe("session");
    expect(by(signed("GET", "/bucket/key", resource, lines))).toBe("InvalidToken");
  });

  it("is refused if it is sent twice", () => {
    const request = signed("GET", "/bucket/key", "/bucket/key");
    const { authorization } = request.headers;
    const rawHeaders = [...request.rawHeaders!, "authorization", authorization!];
    expect(by({ ...request, headers: { ...request.headers, authorization }, rawHeaders })).toBe("InvalidArgument");
  });
});

describe("a presigned URL of version 2", () => {
  const url = (signature: string, more = "") =>
    `/photos/puppy.jpg?AWSAccessKeyId=${EXAMPLE_ID}&Signature=${encodeURIComponent(signature)}&Expires=1175139620${more}`;
  const from = (target: string) => by(received("GET", target, ["Host", "johnsmith.s3.amazonaws.com"]));

  it("of S3's documentation is accepted", () => {
    expect(from(url("NpgCjnDzrM+WFzoENXmpNDUsSn8="))).toBe("ada");
    expect(from(url("NpgCjnDzrM+WFzoENXmpNDUsSn9="))).toBe("SignatureDoesNotMatch");
    expect(from(url("NpgCjnDzrM+WFzoENXmpNDUsSn8=", "&acl"))).toBe("SignatureDoesNotMatch");
    expect(from(url("NpgCjnDzrM+WFzoENXmpNDUsSn8=", "&response-content-type=text/html"))).toBe("SignatureDoesNotMatch");
    expect(from(url("NpgCjnDzrM+WFzoENXmpNDUsSn8=", "&Expires=9999999999"))).toBe("AccessDenied");
  });

  it("covers headers of S3 that are in its query, and replaced headers of the answer", () => {
    const text = "GET\n\n\n1175139620\nx-amz-meta-a:b c\n/johnsmith/photos/puppy.jpg?response-content-type=text/html; a";
    const more = "&x-amz-meta-a=b%20c&response-content-type=text%2Fhtml%3B%20a";
    expect(from(url(hmac(text), more))).toBe("ada");
    expect(from(url(hmac(text), more.replace("b%20c", "d")))).toBe("SignatureDoesNotMatch");
  });
});

describe("the policy of a form", () => {
  const policy = Buffer.from("{}").toString("base64");
  const form = (fields: Record<string, string>, setting?: Setting) =>
    outcomeOf(() => authenticator(setting).authenticateForm(new Map(Object.entries(fields))));

  it("is signed as it is sent", () => {
    const fields = { awsaccesskeyid: EXAMPLE_ID, policy, signature: hmac(policy) };
    expect(form(fields)).toBe("ada");
    expect(form({ ...fields, policy: `${policy} ` })).toBe("SignatureDoesNotMatch");
    expect(form({ ...fields, signature: hmac("{}") })).toBe("SignatureDoesNotMatch");
    expect(form({ ...fields, awsaccesskeyid: "unknown" })).toBe("none");
    expect(form({ awsaccesskeyid: EXAMPLE_ID, policy })).toBe("InvalidArgument");
    expect(form({ awsaccesskeyid: EXAMPLE_ID, signature: "s" })).toBe("InvalidArgument");
    expect(form(fields, { isEnabled: false })).toBe("InvalidRequest");
    expect(form({ ...fields, awsaccesskeyid: "ASIASESSION" })).toBe("InvalidToken");
  });
});
