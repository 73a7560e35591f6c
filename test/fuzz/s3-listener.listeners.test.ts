import { connect } from "node:net";
import { HttpFixture } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Chance } from "../seeded-random.js";

/** Requests of a run. For long runs use `npm run fuzz`; to repeat a run set FRONTCACHE_FUZZ_SEED. */
const isLong = Number(process.env.FRONTCACHE_FUZZ_SECONDS ?? 0) > 0;
const requests = isLong ? 10_000 : 600;
const seed = Number(process.env.FRONTCACHE_FUZZ_SEED ?? 1);
/** A valid request follows this many hostile ones. */
const VALID_EVERY = 20;
/** The time that a hostile connection gets until its answer or its end. A hang is longer. */
const ANSWER_MS = 60_000;

const methods = ["GET", "GET", "GET", "HEAD", "OPTIONS", "PUT", "POST", "DELETE", "get", "G\x00T", "CONNECT", "", "GET GET"];
const targets = [
  ...[
    "/",
    "//",
    "/bucket",
    "/bucket/",
    "/bucket/object",
    "/bucket/a/../object",
    "/bucket/%2e%2e/%2f",
    "/../../etc/passwd",
    "*",
    "",
  ],
  ...["http://bucket.s3.local/object", "http://", "http:///bucket/object", "https://[::1/bucket/object", "ftp://x/bucket/object"],
  ...["/bucket/%", "/bucket/%zz", "/bucket/%C3%28", "/bucket/\xff\xfe", "/b\x00cket/object", `/bucket/${"k".repeat(2_000)}`],
  ...[
    `/${"b".repeat(300)}/object`,
    "/BUCKET/object",
    "/buck\u0000et",
    "/bucket/object#fragment",
    "/bucket /object",
    `/${"a/".repeat(5_000)}`,
  ],
];
const queries = [
  ...[
    "",
    "?",
    "?versionId=",
    "?versionId=%00",
    `?versionId=${"v".repeat(2_000)}`,
    "?partNumber=0",
    "?partNumber=1e9",
    "?partNumber=1&partNumber=x",
  ],
  ...[
    "?acl&tagging",
    "?acl=%zz",
    "?__proto__",
    "?constructor=1",
    "?list-type=3",
    "?list-type=2&max-keys=-1",
    "?list-type=2&prefix=%FF",
  ],
  ...[
    "?response-content-type=a%0d%0ab",
    "?response-x=1",
    "?X-Amz-Signature=0",
    "?X-Amz-Credential=%2F&X-Amz-Date=0&X-Amz-Expires=-1",
  ],
  ...[
    "?AWSAccessKeyId=&Expires=x",
    "?uploads",
    "?&&&=&=&",
    `?${"a=b&".repeat(1_500)}`,
    "?\x01=\x02",
    "?%",
    "?restore",
    "?unknown-thing",
    "??",
    "?cors",
  ],
];
const hosts = [
  ...[
    "member",
    "bucket.s3.local",
    "bucket.s3.local:9000",
    ".s3.local",
    "..s3.local",
    "s3.local",
    "[::1]:9000",
    "[::1",
    "a b",
    "a/b",
    "a,b",
  ],
  ...[
    "user@member",
    "member:99999999",
    "-",
    "\xff",
    "",
    `${"h".repeat(300)}.s3.local`,
    "bucket.s3.local.",
    "%00.s3.local",
    "B.s3.local",
  ],
];
const headers = [
  ...[
    "Range: bytes=0-0",
    "Range: bytes=-",
    "Range: bytes=9-1",
    "Range: bytes=0-1,3-4",
    "Range: bytes=99999999999999999999-",
    "Range: x=1-2",
    "Range: ",
  ],
  ...[
    "If-Match: ",
    'If-Match: "',
    "If-None-Match: *",
    "If-None-Match: W/",
    "If-Modified-Since: yesterday",
    "If-Unmodified-Since: Mon, 99 Foo 2020 99:99:99 GMT",
  ],
  ...[
    "If-Range: x",
    "Expect: 100-continue",
    "Expect: x",
    "Content-Length: 5",
    "Content-Length: -1",
    "Content-Length: 1\r\nContent-Length: 2",
  ],
  ...[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip",
    "Host: other",
    "Host : x",
    " folded: 1",
    ": empty",
    "Bad Header: 1",
    "X: \x00",
    "X: \x7f",
  ],
  ...[
    "Origin: https://a",
    "Origin: null",
    "Origin: \xff",
    "Access-Control-Request-Method: GET",
    "Authorization: AWS4-HMAC-SHA256 Credential=/",
  ],
  ...[
    "Authorization: AWS :",
    "x-amz-server-side-encryption: aws:kms",
    "x-amz-server-side-encryption-customer-key: x",
    "x-amz-expected-bucket-owner: 0",
  ],
  ...[
    "Cache-Control: no-cache, max-age=-1, no-store",
    "Cache-Control: only-if-cached",
    "frontcache-forwarded: 1",
    "frontcache-cached-only: 1",
  ],
  ...[
    "frontcache-timeout-ms: 0",
    "frontcache-warm: 1",
    "x-amz-checksum-mode: ENABLED",
    "Connection: upgrade",
    "Upgrade: h2c",
    `X: ${"x".repeat(20_000)}`,
  ],
  Array.from({ length: 100 }, (_, at) => `x-amz-meta-${at}: ${at}`).join("\r\n"),
];
const versions = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", "http/1.1", ""];
const VALID = "GET /bucket/object HTTP/1.1\r\nHost: member\r\nConnection: close\r\n\r\n";

function hostile(chance: Chance): string {
  const pick = (from: readonly string[]): string => from[chance.below(from.length)]!;
  const lines = [`${pick(methods)} ${pick(targets)}${pick(queries)} ${pick(versions)}`];
  if (chance.below(10) > 0) lines.push(`Host: ${pick(hosts)}`);
  for (let count = chance.below(4); count > 0; count--) lines.push(pick(headers));
  let text = `${lines.join("\r\n")}\r\n\r\n`;
  if (chance.below(4) === 0) text += pick(["hello", "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", VALID]);
  // Some bytes are cut, doubled or replaced.
  for (let edits = chance.below(3); edits > 0; edits--) {
    const at = chance.below(text.length);
    text = text.slice(0, at) + String.fromCharCode(chance.below(256)).repeat(chance.below(3)) + text.slice(at + chance.below(4));
  }
  return text;
}

/** Sends text, half-closes the connection, and resolves with all received bytes when it is closed. */
function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" });
    let received = "";
    socket.setTimeout(ANSWER_MS, () => {
      socket.destroy();
      reject(new Error(`no answer to ${JSON.stringify(text.slice(0, 500))}`));
    });
    socket.on("data", (bytes) => {
      received += bytes.toString("latin1");
    });
    socket.on("error", () => {}); // the listener may reset the connection
    socket.on("close", () => resolve(received));
    socket.end(Buffer.from(text, "latin1"));
  });
}

describe("hostile requests at the S3 endpoint", () => {
  let fixture: HttpFixture;

  beforeAll(async () => {
    fixture = await HttpFixture.open({ addressing: { form: "root", domains: ["s3.local"] } });
    fixture.put("s3://bucket/object", "0123456789");
  });

  afterAll(() => fixture[Symbol.asyncDispose]());

  it(`are answered or end their connection, are never a defect, and disturb no valid request (seed ${seed})`, {
    timeout: 600_000,
  }, async () => {
    const chance = new Chance(seed);
    const { port } = fixture.listener.address;
    for (let at = 0; at < requests; at++) {
      const text = hostile(chance);
      const received = await exchange(port, text);
      const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(received) ?? [];
      const context = JSON.stringify({ text: text.slice(0, 1_000), received: received.slice(0, 1_000) });
      expect(received === "" || status !== undefined, context).toBe(true);
      expect(status ?? "", context).not.toMatch(/^5(?!01|04)/);
      if (at % VALID_EVERY === 0) expect(await exchange(port, VALID)).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\n\r\n0123456789$/s);
    }
    expect(fixture.logged.filter((line) => "code" in line && line.code === "INTERNAL")).toEqual([]);
  });
});
