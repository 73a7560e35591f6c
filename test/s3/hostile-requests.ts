const HOST = "Host: member\r\n";

/** Valid requests of every kind, including bodies. */
const RIGHT = [
  `GET /s3/bucket/object HTTP/1.1\r\n${HOST}Range: bytes=2-5\r\n\r\n`,
  `GET /s3/bucket/object HTTP/1.1\r\n${HOST}Range: bytes=2-5\r\nIf-Match: "v1"\r\n\r\n`,
  `GET /s3/bucket/object?x-id=GetObject HTTP/1.1\r\n${HOST}Range: bytes=-3\r\nIf-None-Match: "x", W/"y"\r\n\r\n`,
  `GET /s3/bucket/%6Fbject HTTP/1.1\r\n${HOST}If-Modified-Since: Fri, 01 Nov 2024 12:00:00 GMT\r\nAccept: */*\r\n\r\n`,
  `GET /gs/bucket/object HTTP/1.1\r\n${HOST}Range: bytes=10-\r\n\r\n`,
  `HEAD /gs/bucket/object HTTP/1.1\r\n${HOST}Connection: keep-alive\r\n\r\n`,
  `GET /s3/bucket?list-type=2&prefix=a%20b&max-keys=10 HTTP/1.1\r\n${HOST}\r\n`,
  `GET http://member/s3/bucket/object HTTP/1.1\r\n${HOST}Expect: 100-continue\r\n\r\n`,
  `PUT /s3/bucket/object HTTP/1.1\r\n${HOST}Content-Length: 9\r\n\r\nsome body`,
  `POST /s3/bucket?delete HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n5;x=y\r\n body\r\n0\r\nTrailer: z\r\n\r\n`,
  `GET /s3/bucket/object HTTP/1.1\r\n${HOST}Content-Length: 4\r\n\r\nbody`,
  "GET /readyz HTTP/1.0\r\n\r\n",
];

/** Fragments that have caused defects in HTTP parsers. */
const STONES = [
  "\r\n",
  "\n",
  "\r",
  "\r\n\r\n",
  " ",
  "\t",
  ":",
  ",",
  "\0",
  "\x7f",
  "\xff",
  "%",
  "%00",
  "%0d%0a",
  "/",
  "/../",
  "?",
  "#",
  "&",
  '"',
  "GET ",
  "HTTP/1.1",
  "HTTP/9.9",
  "Range: bytes=",
  "Range: bytes=0-18446744073709551616\r\n",
  "bytes=-",
  "If-Match: ",
  "Host: other\r\n",
  "Content-Length: 9\r\n",
  "Content-Length: +1\r\n",
  "Content-Length: 99999999999999999999\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: gzip, chunked\r\n",
  "Connection: close\r\n",
  "Upgrade: h2c\r\n",
  "FFFFFFFFFFFFFFFFF\r\n",
  "0\r\n\r\n",
  "x".repeat(3_000),
  "X: y\r\n".repeat(200),
  "versionId=",
  "continuation-token=",
];

/** A generator of hostile and broken input, deterministic for given random numbers. */
export class HostileRequests {
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Returns the bytes of one connection, in the pieces to send. */
  next(): Buffer[] {
    const bytes = this.#bytes();
    const pieces: Buffer[] = [];
    for (let at = 0, left = this.#below(3); at < bytes.length; left--) {
      const end = left > 0 ? at + 1 + this.#below(bytes.length - at) : bytes.length;
      pieces.push(bytes.subarray(at, end));
      at = end;
    }
    return pieces;
  }

  #bytes(): Buffer {
    const kind = this.#below(20);
    if (kind === 0) return Buffer.from(Array.from({ length: 1 + this.#below(400) }, () => this.#below(256)));
    const text = this.#damaged();
    // Cuts anywhere: in the header, in the body, between CR and LF.
    return Buffer.from(kind < 4 ? text.slice(0, 1 + this.#below(text.length)) : text, "latin1");
  }

  /** Returns a few valid requests, with some bytes overwritten, removed, duplicated or moved. */
  #damaged(): string {
    let text = Array.from({ length: 1 + this.#below(3) }, () => this.#of(RIGHT)).join("");
    for (let changes = 1 + this.#below(4); changes > 0; changes--) {
      const at = this.#below(text.length);
      const stone = this.#of(STONES).repeat(this.#below(3));
      text = text.slice(0, at) + stone + text.slice(at + this.#below(8));
    }
    return text;
  }

  #of<T>(list: readonly T[]): T {
    return list[this.#below(list.length)]!;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}
