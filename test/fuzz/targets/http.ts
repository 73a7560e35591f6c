import { createServer, type IncomingMessage, type Server } from "node:http";
import { Duplex } from "node:stream";
import { isDeepStrictEqual } from "node:util";
import { parseObjectUrl } from "@frontcache/proto";
import {
  judge,
  PREFIXED,
  parseConditions,
  parsePlainRequest,
  parseRange,
  parseTarget,
  rangeCounts,
  spanOf,
} from "@frontcache/server/testing";
import { type FuzzTarget, promise, resultOf } from "../target.js";
import { isBadInput } from "./object-url.js";

/** Targets of requests: path and query. */
export const requestTargetTarget: FuzzTarget = {
  name: "request-target",
  tokens: ["/s3/", "/gs/", "%2F", "%00", "%", "%C3%A9", "%ff", "\xc3\xa9", "?versionId=", "&", "..", "//", "+", "http://x"],
  check(input) {
    const target = resultOf(() => parseTarget(input, "host", PREFIXED), isBadInput)?.value;
    if (target?.scope !== "object") return;
    const { url, scheme, bucket, key } = target.ref;
    promise(parseObjectUrl(url).key === key, "the URL names the same object");
    if (input.includes("?")) return;
    const escaped = `/${scheme === "s3" ? "s3" : "gs"}/${bucket}/${encodeURIComponent(key)}`;
    const again = parseTarget(escaped, "host", PREFIXED);
    promise(again.scope === "object" && again.ref.url === url, "escaping a key and reading it gives the key");
  },
};

const SIZES = [0, 1, 10, 1_000_000, Number.MAX_SAFE_INTEGER];

/** Range headers. */
export const rangeTarget: FuzzTarget = {
  name: "range",
  tokens: ["bytes=", "-", ",", "0", "9007199254740993", "99999999999999999999999999", " ", "\t", "e3", "0x1", "items="],
  check(input) {
    const range = parseRange(input);
    if (range === undefined) return;
    promise(/^bytes=\d*-\d*$/i.test(input), "only one range of bytes is one");
    for (const size of SIZES) {
      const span = spanOf(range, size);
      if (span === undefined) continue;
      const { start, end } = span;
      promise(Number.isSafeInteger(start) && Number.isSafeInteger(end), "spans are exact");
      promise(0 <= start && start < end && end <= size, "a span lies in the object");
    }
  },
};

const INFO = { version: "v1", objectSize: 10, lastModifiedMs: 1_700_000_000_500 };

/** Conditional headers: one line for each, in the order If-Match, If-None-Match, If-Range, If-Modified-Since. */
export const conditionsTarget: FuzzTarget = {
  name: "conditions",
  tokens: ['"v1"', "W/", "*", ",", '"', " ", "\t", "\n", "Tue, 14 Nov 2023 22:13:20 GMT", "v1"],
  check(input) {
    const [match, noneMatch, range, modified] = input.split("\n");
    const headers = Object.fromEntries(
      [
        ["if-match", match],
        ["if-none-match", noneMatch],
        ["if-range", range],
        ["if-modified-since", modified],
      ].filter(([, value]) => value),
    );
    const conditions = parseConditions(headers);
    const verdict = judge(conditions, INFO);
    promise(["answer", "not-modified", "failed"].includes(verdict), "there is a verdict");
    promise(typeof rangeCounts(conditions, INFO) === "boolean", "a range counts or does not");
    if (match === '"v1"') promise(verdict !== "failed", "what the object is of does not fail it");
    if (match && !match.includes("v1") && match.trim() !== "*")
      promise(verdict === "failed", "what names no version of it fails");
  },
};

/** A connection without a socket. Written bytes are dropped. */
class Bytes extends Duplex {
  constructor(bytes: Buffer) {
    super();
    this.push(bytes);
  }

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
}

/** Returns the request that Node's parser finds in these bytes; undefined if they are not a complete request. */
async function parsedByNode(bytes: Buffer): Promise<IncomingMessage[]> {
  const requests: IncomingMessage[] = [];
  const server: Server = createServer((request) => requests.push(request));
  server.on("clientError", () => {});
  const connection = new Bytes(bytes);
  server.emit("connection", connection);
  await new Promise((resolve) => setImmediate(resolve));
  connection.destroy();
  return requests;
}

/** The plain lane: it accepts fewer requests than Node's parser, and interprets none differently. */
export const plainRequestTarget: FuzzTarget = {
  name: "plain-request",
  tokens: [
    "\r\n",
    "Host: ",
    "Range: bytes=",
    "If-Match: ",
    "frontcache-forwarded: 1",
    "frontcache-cached-only: 1",
    "GET ",
    "HEAD ",
    " HTTP/1.1",
    "/s3/",
    "?",
    "#",
    "\t",
    "\xe9",
    "\r",
    "\n",
    '"',
    "?x-id=GetObject",
    "&X-Amz-Signature=",
    "Authorization: AWS4-HMAC-SHA256 Credential=A, SignedHeaders=host, Signature=",
    "x-amz-date: 20261101T000000Z",
    "amz-sdk-request: attempt=1; max=3",
  ],
  async check(input) {
    const plain = parsePlainRequest(Buffer.from(input, "latin1"), "prefixed");
    if (plain === undefined) return;
    const requests = await parsedByNode(Buffer.from(input, "latin1"));
    promise(requests.length === 1, "Node takes it for one request, too");
    const { method, url, headers } = requests[0]!;
    promise(method === plain.method && url === plain.url, "Node reads the same method and target");
    promise(isDeepStrictEqual({ ...headers }, { ...plain.headers }), "Node reads the same headers, and no other");
  },
};
