// An S3 endpoint that forgets the bytes of its objects: it reads each body, hashes it for its ETag, as S3 does, and keeps size and ETag.
// With the argument `unhashed` the ETag is a counter. One request at a time per connection.
import { createHash } from "node:crypto";
import { type AddressInfo, createServer, type Socket } from "node:net";

const isHashed = process.argv[2] !== "unhashed";

interface Stored {
  readonly etag: string;
  readonly bytes: number;
}

const objects = new Map<string, Stored>();
let stored = 0;

class Requests {
  readonly #socket: Socket;
  #head = "";
  #path = "";
  #bytes = 0;
  #leftBytes = 0;
  #hash = createHash("md5");

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  take(bytes: Buffer): void {
    let body = bytes;
    if (this.#leftBytes === 0) {
      this.#head += bytes.toString("latin1");
      const end = this.#head.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = this.#head.slice(0, end);
      body = Buffer.from(this.#head.slice(end + 4), "latin1");
      this.#head = "";
      const [, method = "", path = ""] = /^(\w+) ([^ ?]+)/.exec(head) ?? [];
      if (method === "HEAD") {
        this.#describe(path);
        return;
      }
      this.#path = path;
      this.#hash = createHash("md5");
      this.#bytes = Number(/\r\nx-amz-decoded-content-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      this.#leftBytes = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      this.#bytes ||= this.#leftBytes;
    }
    this.#leftBytes -= body.length;
    if (isHashed) this.#hash.update(body);
    if (this.#leftBytes === 0) this.#store();
  }

  #store(): void {
    const etag = isHashed ? this.#hash.digest("hex") : `${++stored}`;
    objects.set(this.#path, { etag, bytes: this.#bytes });
    this.#socket.write(`HTTP/1.1 200 OK\r\nETag: "${etag}"\r\nContent-Length: 0\r\n\r\n`);
  }

  #describe(path: string): void {
    const object = objects.get(path);
    const head =
      object === undefined
        ? "404 Not Found\r\nContent-Length: 0"
        : `200 OK\r\nETag: "${object.etag}"\r\nContent-Length: ${object.bytes}\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT`;
    this.#socket.write(`HTTP/1.1 ${head}\r\n\r\n`);
  }
}

const server = createServer({ noDelay: true }, (socket) => {
  const requests = new Requests(socket);
  socket.on("error", () => {});
  socket.on("data", (bytes: Buffer) => requests.take(bytes));
});
server.listen(0, "127.0.0.1", () => process.send!((server.address() as AddressInfo).port));
process.once("disconnect", () => process.exit(0));
