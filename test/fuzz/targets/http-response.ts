import { type IncomingMessage, request } from "node:http";
import { Duplex } from "node:stream";
import { InvalidResponse } from "@frontcache/client/http";
import { type ReceivedResponse, receiveResponse } from "@frontcache/client/testing";
import { type FuzzTarget, promise, resultOf } from "../target.js";

const MAX_HEAD_BYTES = 64 << 10;

/** A connection on which these bytes arrive, and then its end. */
class Arriving extends Duplex {
  constructor(bytes: Buffer) {
    super();
    this.push(bytes);
    this.push(null);
  }

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
}

/** The response that Node's client finds in these bytes; undefined: none, or an incomplete one. */
function byNode(bytes: Buffer): Promise<{ status: number; body: Buffer } | undefined> {
  return new Promise((resolve) => {
    const sent = request({ createConnection: () => new Arriving(bytes) as never, maxHeaderSize: MAX_HEAD_BYTES });
    sent.on("error", () => resolve(undefined));
    sent.on("upgrade", () => resolve(undefined));
    sent.on("response", (response: IncomingMessage) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", () => resolve(undefined));
      response.on("close", () => resolve(undefined));
      response.on("end", () => resolve({ status: response.statusCode!, body: Buffer.concat(chunks) }));
    });
    sent.end();
  });
}

const received = (pieces: Iterable<Buffer>): ReceivedResponse | undefined =>
  resultOf(
    () => receiveResponse(pieces, MAX_HEAD_BYTES),
    (error) => error instanceof InvalidResponse,
  )?.value;

/** Responses of origins and members: the client accepts fewer than Node's, interprets none differently, in whatever pieces. */
export const httpResponseTarget: FuzzTarget = {
  name: "http-response",
  tokens: [
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\0",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.0 ",
    " 204 ",
    " 304 ",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: close\r\n",
    " folded",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
    ";x=y",
    ":",
    "+",
    "0x",
  ],
  async check(input) {
    const bytes = Buffer.from(input, "latin1");
    const whole = received([bytes]);
    const byteByByte = received(Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)));
    if (whole !== undefined) {
      promise(byteByByte?.status === whole.status, "the pieces do not matter for the status");
      promise(byteByByte.body.equals(whole.body), "the pieces do not matter for the body");
    }
    if (byteByByte === undefined) return;
    const { status, body, head, wireBytes, keepAlive } = byteByByte;
    promise(status >= 200 && status <= 599, "the response is a final one");
    promise(!keepAlive || head.isChunked || head.contentLength !== undefined || body.length === 0, "a kept body has an end");
    const theirs = await byNode(bytes.subarray(0, wireBytes));
    promise(theirs?.status === status, "Node's client receives it with the same status");
    promise(theirs.body.equals(body), "Node's client receives the same bytes");
  },
};
