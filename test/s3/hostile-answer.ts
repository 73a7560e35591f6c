import { errorAnswer, ramp, rampHead } from "@frontcache/client/testing";
import fc from "fast-check";

/** The requested object and range. */
export const object = { size: 3_000, version: "v1" } as const;
export const asked = { offset: 700, length: 1_900 } as const;
const end = asked.offset + asked.length;

/** The response of a broken or hostile HTTP listener to one request. */
export interface HostileAnswer {
  readonly wire: Buffer;
  /** Positions at which the bytes are cut into pieces, as shares of their length. */
  readonly cuts: readonly number[];
  /** What happens to the connection after the last byte. */
  readonly ending: "end" | "reset" | "open";
}

/** A response that mutations make invalid. */
interface Draft {
  readonly head: string;
  readonly body: Buffer;
}

type Twist = (draft: Draft) => Draft;

const good: Draft = {
  head: rampHead({ first: asked.offset, end, objectSize: object.size, version: object.version }),
  body: ramp(asked.offset, asked.length),
};

const onHead =
  (change: (head: string) => string): Twist =>
  ({ head, body }) => ({ head: change(head), body });
const onBody =
  (change: (body: Buffer) => Buffer): Twist =>
  ({ head, body }) => ({ head, body: change(body) });

/** Replaces the header line of a name; undefined: removes it. */
function line(name: string, value: string | undefined): Twist {
  return onHead((head) => head.replace(new RegExp(`\r\n${name}: [^\r\n]*`), value === undefined ? "" : `\r\n${name}: ${value}`));
}

/** Adds a header line before or after the others. */
function oneMore(text: string, inFront: boolean): Twist {
  return onHead((head) =>
    inFront ? head.replace("\r\n", () => `\r\n${text}\r\n`) : head.replace(/\r\n\r\n$/, () => `\r\n${text}\r\n\r\n`),
  );
}

const number = fc.oneof(
  fc.integer({ min: -5, max: 5_000 }).map(String),
  fc.constantFrom(
    "",
    "+1900",
    "1900 ",
    "1e3",
    "0x76c",
    "1900, 1900",
    "01900",
    "9".repeat(15),
    "9".repeat(400),
    "NaN",
    "-1",
    "1900;",
  ),
);
const range = fc.oneof(
  fc.tuple(number, number, number).map(([first, last, size]) => `bytes ${first}-${last}/${size}`),
  fc.constantFrom("bytes */3000", "bytes 700-2599/*", "lines 700-2599/3000", "bytes=700-2599/3000", "bytes 2599-700/3000", ""),
);
const status = fc.constantFrom(
  "HTTP/1.0 206 Partial Content",
  "HTTP/1.1 200 OK",
  "HTTP/1.1 206",
  "HTTP/1.1  206 Partial Content",
  "HTTP/2 206",
  "http/1.1 206 Partial Content",
  "HTTP/1.1 2066 Much",
  "HTTP/1.1 204 No Content",
  "HTTP/1.1 301 Moved",
  "HTTP/1.1 304 Not Modified",
  "HTTP/1.1 404 Not Found",
  "HTTP/1.1 500 Oh",
  "HTTP/1.1 101 Switching Protocols",
  "ICY 206 OK",
  "",
);

const twist: fc.Arbitrary<Twist> = fc.oneof(
  number.map((value) => line("Content-Length", value)),
  range.map((value) => line("Content-Range", value)),
  fc.constantFrom("Content-Length", "Content-Range", "ETag").map((name) => line(name, undefined)),
  fc.constantFrom('"v2"', 'W/"v1"', "v1", '""', '"v1', '"v1", "v1"').map((value) => line("ETag", value)),
  fc
    .tuple(
      fc.constantFrom("Content-Length: 1900", "Content-Length: 5", "Content-Range: bytes 0-9/10", 'ETag: "v1"'),
      fc.boolean(),
    )
    .map(([text, first]) => oneMore(text, first)),
  fc
    .constantFrom(
      "Transfer-Encoding: chunked",
      "Content-Encoding: gzip",
      ": x",
      "no header",
      " folded: line",
      "A\0: b",
      "A: b\0",
      "A: b\rc",
    )
    .map((text) => oneMore(text, false)),
  status.map((text) => onHead((head) => head.replace(/^[^\r]*/, text))),
  fc
    .constantFrom("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "\r\n", "\0")
    .map((text) => onHead((head) => text + head)),
  fc.integer({ min: 0, max: 40_000 }).map((bytes) => oneMore(`X-Long: ${"x".repeat(bytes)}`, true)),
  fc.integer({ min: 0, max: 3_000 }).map((lines) =>
    oneMore(
      Array<string>(lines + 1)
        .fill("X: y")
        .join("\r\n"),
      true,
    ),
  ),
  fc.constant(onHead((head) => head.replaceAll("\r\n", "\n"))),
  fc.constant(oneMore("Connection: close", false)),
  fc.constant(
    onBody((body) => Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n0\r\n\r\n")])),
  ),
  fc.nat(asked.length).map((bytes) => onBody((body) => body.subarray(0, bytes))),
  fc.uint8Array({ minLength: 1, maxLength: 3_000 }).map((extra) => onBody((body) => Buffer.concat([body, extra]))),
  fc.constant(onBody((body) => Buffer.concat([body, Buffer.from(good.head, "latin1"), body]))),
  fc
    .tuple(fc.nat(), fc.nat(4), fc.string({ unit: "binary-ascii", maxLength: 3 }))
    .map(([at, cut, text]) => onHead((head) => head.slice(0, at % head.length) + text + head.slice((at % head.length) + cut))),
);

const twisted = fc.array(twist, { maxLength: 3 }).map((twists) => twists.reduce((draft, change) => change(draft), good));

const wire = fc.oneof(
  { weight: 8, arbitrary: twisted.map(({ head, body }) => Buffer.concat([Buffer.from(head, "latin1"), body])) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 2_000 }).map((noise) => Buffer.from(noise)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom("404 Not Found", "416 Range Not Satisfiable", "503 Slow Down", "500 Internal Server Error"),
        fc.nat(400),
      )
      .map(([text, bytes]) => Buffer.from(errorAnswer(text, "NoSuchKey", "it is not there").slice(0, 100 + bytes), "latin1")),
  },
);

export const hostileAnswer: fc.Arbitrary<HostileAnswer> = fc.record({
  wire,
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 }),
  ending: fc.constantFrom("end" as const, "reset" as const, "open" as const),
});

/**
 * Returns whether the first blank line directly precedes the object's bytes. Otherwise the body matches its header, not the
 * object.
 */
export function isFramed({ wire }: HostileAnswer): boolean {
  const bodyAt = wire.indexOf("\r\n\r\n", 0, "latin1") + 4;
  return wire.subarray(bodyAt, bodyAt + asked.length).equals(good.body);
}
