import { describe, expect, it } from "vitest";
import { parsePlainRequest } from "./plain-request.js";
import { mayRepeat } from "./repeated-request.js";

const PLAIN = "GET /s3/bucket/a%20key HTTP/1.1\r\nHost: member-0.cache:8081\r\nRange: bytes=10-19\r\n";

const httpVersion = "1.1";

const parse = (text: string) => parsePlainRequest(Buffer.from(text, "latin1"), "prefixed");

describe("a plain request", () => {
  it("is a GET of a range with or without a version", () => {
    const headers = { host: "member-0.cache:8081", range: "bytes=10-19" };
    expect(parse(`${PLAIN}\r\n`)).toEqual({ url: "/s3/bucket/a%20key", isPlain: true, method: "GET", httpVersion, headers });
    expect(parse(`${PLAIN}If-Match: "v1"\r\n\r\n`)).toEqual({
      url: "/s3/bucket/a%20key",
      isPlain: true,
      method: "GET",
      httpVersion,
      headers: { ...headers, "if-match": '"v1"' },
    });
    expect(parse("GET /gs/b/k HTTP/1.1\r\nHost: [::1]:80\r\nRange: bytes=0-0\r\n\r\n")).toMatchObject({ url: "/gs/b/k" });
  });

  it("has any path at the root of an S3 endpoint", () => {
    const text = "GET /bucket/a%20key HTTP/1.1\r\nHost: bucket.s3.local\r\nRange: bytes=0-9\r\n\r\n";
    expect(parse(text)).toBeUndefined();
    expect(parsePlainRequest(Buffer.from(text), "root")).toMatchObject({ url: "/bucket/a%20key" });
    for (const target of ["/key?versionId=1", "/a#b", "*", "http://h/a"]) {
      expect(parsePlainRequest(Buffer.from(text.replace("/bucket/a%20key", target)), "root")).toBeUndefined();
    }
  });

  it("may end with the headers between members", () => {
    const headers = { host: "member-0.cache:8081", range: "bytes=10-19" };
    const [forwarded, cachedOnly] = ["frontcache-forwarded: 1\r\n", "frontcache-cached-only: 1\r\n"];
    expect(parse(`${PLAIN}${forwarded}\r\n`)?.headers).toEqual({ ...headers, "frontcache-forwarded": "1" });
    expect(parse(`${PLAIN}${cachedOnly}\r\n`)?.headers).toEqual({ ...headers, "frontcache-cached-only": "1" });
    const openEnded = "frontcache-open-ended: 1\r\n";
    expect(parse(`${PLAIN}${forwarded}${openEnded}\r\n`)?.headers).toMatchObject({ "frontcache-open-ended": "1" });
    expect(parse(`${PLAIN}If-Match: "v1"\r\nAuthorization: Bearer t\r\n${forwarded}${cachedOnly}\r\n`)?.headers).toEqual({
      ...headers,
      "if-match": '"v1"',
      authorization: "Bearer t",
      "frontcache-forwarded": "1",
      "frontcache-cached-only": "1",
    });
  });

  it("may be a HEAD, or have no range, but is not plain then", () => {
    for (const other of ["", "Accept: */*\r\n"]) {
      const [path, host] = ["/s3/b/k HTTP/1.1\r\n", `${other}Host: m\r\n`];
      const headers = other === "" ? { host: "m" } : { host: "m", accept: "*/*" };
      expect(parse(`GET ${path}${host}\r\n`)).toEqual({ method: "GET", url: "/s3/b/k", httpVersion, isPlain: false, headers });
      expect(parse(`HEAD ${path}${host}\r\n`)).toEqual({ method: "HEAD", url: "/s3/b/k", httpVersion, isPlain: false, headers });
      expect(parse(`HEAD ${path}${host}Range: bytes=0-1\r\n\r\n`)).toMatchObject({ method: "HEAD", isPlain: false });
    }
  });

  it("may have its headers in any order and spelling", () => {
    const lines = ["Host: m:1", "Range: bytes=0-1", 'If-Match: "v"', "frontcache-forwarded: 1", "frontcache-timeout-ms: 9"];
    const parsed = parse(["GET /s3/b/k HTTP/1.1", ...lines, "\r\n"].join("\r\n"));
    for (let turn = 1; turn < lines.length; turn++) {
      const turned = [...lines.slice(turn), ...lines.slice(0, turn)].map((line) => (turn % 2 === 0 ? line.toLowerCase() : line));
      expect(parse(["GET /s3/b/k HTTP/1.1", ...turned, "\r\n"].join("\r\n"))).toEqual(parsed);
    }
  });

  it("may have a few harmless other headers, but is not plain then", () => {
    const others = "User-Agent: tool/1 (x)\r\nAccept: */*\r\nAccept-Encoding: identity\r\nConnection: Keep-Alive\r\n";
    expect(parse(`${PLAIN}${others}\r\n`)).toEqual({
      url: "/s3/bucket/a%20key",
      isPlain: false,
      method: "GET",
      httpVersion,
      headers: {
        host: "member-0.cache:8081",
        range: "bytes=10-19",
        "user-agent": "tool/1 (x)",
        accept: "*/*",
        "accept-encoding": "identity",
        connection: "Keep-Alive",
      },
    });
  });

  const SIGNED = {
    authorization: `AWS4-HMAC-SHA256 Credential=AKIA/ID/20261101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=${"0a".repeat(32)}`,
    "x-amz-date": "20261101T000000Z",
    "x-amz-content-sha256": "0a".repeat(32),
  };
  const linesOf = (headers: object): string =>
    Object.entries(headers)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join("");

  it("may be signed, and have the headers and the query of S3's SDKs, but is not plain then", () => {
    const headers = {
      host: "member-0.cache:8081",
      range: "bytes=10-19",
      ...SIGNED,
      "x-amz-security-token": "IQoJb3JpZ2luX2VjE+/=",
      "x-amz-checksum-mode": "ENABLED",
      "x-amz-api-version": "2006-03-01",
      "content-type": "application/xml",
      referer: "https://audit.example.org/hadoop/1/op_open/",
      "x-amz-user-agent": "aws-sdk-js/3 ua/2.1",
      "amz-sdk-invocation-id": "0b5d2d6c-7c4e-4a0f-9d5e-6f1f2f3f4f5f",
      "amz-sdk-request": "attempt=1; max=3",
    };
    for (const query of [
      "",
      "?x-id=GetObject",
      "?partNumber=1&x-id=GetObject",
      "?list-type=2&prefix=a%2F&delimiter=/&max-keys=10&continuation-token=a+%3D=",
      "?X-Amz-Credential=A%2FB/s3&X-Amz-Signature=0a&x-id=HeadObject",
    ]) {
      const url = `/s3/b/k${query}`;
      const parsed = { method: "GET", url, httpVersion, isPlain: false, headers };
      expect(parse(`GET ${url} HTTP/1.1\r\n${linesOf(headers)}\r\n`)).toEqual(parsed);
    }
    const { authorization } = SIGNED;
    expect(parse(`${PLAIN}${linesOf({ authorization })}\r\n`)).toMatchObject({ isPlain: false, headers: { authorization } });
    expect(parse(`${PLAIN.replace("a%20key", "k?x-id=GetObject")}\r\n`)).toMatchObject({ isPlain: false });
  });

  it.each([
    ["a signature of version 2", { authorization: "AWS AKIAID:c2ln" }],
    ["a password", { authorization: "Basic bWU6dG9rZW4=" }],
    ["a signature of another algorithm", { authorization: SIGNED.authorization.replace("HMAC", "ECDSA-P256") }],
    ["a signature in another spelling", { authorization: SIGNED.authorization.toUpperCase() }],
    ["a short signature", { authorization: SIGNED.authorization.slice(0, -1) }],
    ["a field of a signature twice", { authorization: SIGNED.authorization.replace(", S", ", Credential=x, S") }],
    ["another date", { "x-amz-date": "2026-11-01T00:00:00Z" }],
    ["a signed body of chunks", { "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" }],
    ["an empty session token", { "x-amz-security-token": "" }],
    ["a header of S3's that it does not know", { "x-amz-request-payer": "requester" }],
  ])("does not have %s", (_, header) => {
    expect(parse(`${PLAIN}${linesOf({ ...SIGNED, ...header })}\r\n`)).toBeUndefined();
  });

  it("may have a suffix or an open range, but is not plain then, and is not repeated, nor is a signed request", () => {
    for (const numbers of ["-19", "10-"]) {
      const parsed = parse(`${PLAIN.replace("10-19", numbers)}\r\n`)!;
      expect([parsed.isPlain, parsed.headers.range, mayRepeat(parsed)]).toEqual([false, `bytes=${numbers}`, false]);
    }
    expect([`${PLAIN}\r\n`, `${PLAIN}${linesOf(SIGNED)}\r\n`].map((text) => mayRepeat(parse(text)!))).toEqual([true, false]);
  });

  it("does not have two signatures", () => {
    expect(parse(`${PLAIN}${linesOf(SIGNED)}\r\n`)).toBeDefined();
    for (const [name, value] of Object.entries(SIGNED)) {
      expect(parse(`${PLAIN}${linesOf(SIGNED)}${linesOf({ [name]: value })}\r\n`)).toBeUndefined();
    }
    expect(parse(`${PLAIN}${linesOf(SIGNED)}Authorization: Bearer t\r\n\r\n`)).toBeUndefined();
  });

  it.each(["?", "?acl", "?x-id=PutObject", "?x-id=GetObject&", "?X-Amz-Date=1&acl", "?X-Amz-Signature", "?x-amz-acl=private"])(
    "does not have the query %s",
    (query) => {
      expect(parse(`${PLAIN.replace("a%20key", `k${query}`)}\r\n`)).toBeUndefined();
    },
  );

  it("may name that it is repeated, and how long its client waits", () => {
    const [repeated, timeout] = ["frontcache-repeated: 1\r\n", "frontcache-timeout-ms: 250\r\n"];
    expect(parse(`${PLAIN}${repeated}${timeout}\r\n`)?.headers).toMatchObject({
      "frontcache-repeated": "1",
      "frontcache-timeout-ms": "250",
    });
    for (const wrong of [`${timeout}${timeout}`, "frontcache-timeout-ms: -1\r\n"]) {
      expect(parse(`${PLAIN}${wrong}\r\n`)).toBeUndefined();
    }
  });

  it.each([
    ["another value of a member's header", `${PLAIN}frontcache-forwarded: 2\r\n\r\n`],
    ["a member's header twice", `${PLAIN}frontcache-forwarded: 1\r\nfrontcache-forwarded: 1\r\n\r\n`],
    ["another method", `POST${PLAIN.slice(3)}\r\n`],
    ["another version", `${PLAIN.replace("1.1", "1.0")}\r\n`],
    ["a query", `${PLAIN.replace("%20", "?")}\r\n`],
    ["a fragment", `${PLAIN.replace("%20", "#")}\r\n`],
    ["bytes that are not ASCII", `${PLAIN.replace("%20", "\xe9")}\r\n`],
    ["a whole URL", `${PLAIN.replace("/s3", "http://member/s3")}\r\n`],
    ["another path", `${PLAIN.replace("/s3/", "/status/")}\r\n`],
    ["a range without numbers", `${PLAIN.replace("10-19", "-")}\r\n`],
    ["two ranges", `${PLAIN.replace("10-19", "1-2,3-4")}\r\n`],
    ["a number that is not exact", `${PLAIN.replace("19", "9".repeat(16))}\r\n`],
    ["other headers", `${PLAIN}Origin: http://page\r\n\r\n`],
    ["a body", `${PLAIN}Content-Length: 4\r\n\r\n`],
    ["an encoded body", `${PLAIN}Transfer-Encoding: chunked\r\n\r\n`],
    ["the end of its connection", `${PLAIN}Connection: close\r\n\r\n`],
    ["a host twice", `${PLAIN}Host: other\r\n\r\n`],
    ["a range twice", `${PLAIN}range: bytes=0-1\r\n\r\n`],
    ["no host", "GET /s3/b/k HTTP/1.1\r\nRange: bytes=0-1\r\n\r\n"],
    ["no header", "GET /s3/b/k HTTP/1.1\r\n\r\n"],
    ["a line without a colon", `${PLAIN}Accept\r\n\r\n`],
    ["a name with a space", `${PLAIN}Accept : a\r\n\r\n`],
    ["a folded line", `${PLAIN}Accept: a\r\n b\r\n\r\n`],
    ["a name of Object's prototype", `${PLAIN}constructor: a\r\n\r\n`],
    ["an empty value", `${PLAIN}Accept: \r\n\r\n`],
    ["a tab in a value", `${PLAIN}Accept: a\tb\r\n\r\n`],
    ["spaces at the end of a value", `${PLAIN.replace("10-19", "10-19 ")}\r\n`],
    ["LF alone", `${PLAIN.replaceAll("\r\n", "\n")}\n`],
    ["half a head", PLAIN],
    ["nothing", ""],
    ["something behind it", `${PLAIN}\r\n\r\n`],
    ["two of them", `${PLAIN}\r\n${PLAIN}\r\n`],
    ["a control character in a value", `${PLAIN}If-Match: "\x01"\r\n\r\n`],
    ["a path of more than 4 KiB", `${PLAIN.replace("%20", "x".repeat(4096))}\r\n`],
  ])("does not have %s", (_, text) => {
    expect(parse(text)).toBeUndefined();
  });
});
