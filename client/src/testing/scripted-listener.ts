import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { ERROR_HEADER, type ErrorCode, errorTable } from "@frontcache/proto";
import { ramp } from "./ramp.js";

/** A request that the listener received. */
export interface Asked {
  /** The lines of its header, without their ends. */
  readonly lines: readonly string[];
  /** The number of the request; the first one is 1. */
  readonly count: number;
  /** The number of the connection; the first one is 1. */
  readonly connection: number;
  readonly socket: Socket;
}

/** A real TCP server on a free port that answers each request header with scripted bytes. */
export class ScriptedListener {
  readonly address: string;
  /** Open connections. */
  readonly sockets = new Set<Socket>();
  connections = 0;
  readonly asked: Asked[] = [];
  readonly #server: Server;

  private constructor(server: Server, onAsked: (asked: Asked) => void) {
    this.#server = server;
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("connection", (socket) => this.#accept(socket, onAsked));
  }

  /** Listens on `port`, by default on a free one. */
  static async start(onAsked: (asked: Asked) => void, port = 0): Promise<ScriptedListener> {
    const server = createServer({ noDelay: true, allowHalfOpen: true });
    await once(server.listen(port, "127.0.0.1"), "listening");
    return new ScriptedListener(server, onAsked);
  }

  /** Stops listening. Connections stay open. */
  vanish(): void {
    this.#server.close();
  }

  /** Stops listening, and resets all connections. */
  async kill(): Promise<void> {
    // If it was closed before, the callback gets an error, which is ignored.
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.sockets) socket.resetAndDestroy();
    await closed;
  }

  #accept(socket: Socket, onAsked: (asked: Asked) => void): void {
    const connection = ++this.connections;
    this.sockets.add(socket);
    let text = "";
    socket.on("error", () => undefined);
    socket.once("close", () => this.sockets.delete(socket));
    socket.once("end", () => socket.end());
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        const asked = { lines: text.slice(0, end).split("\r\n"), count: this.asked.length + 1, connection, socket };
        text = text.slice(end + 4);
        this.asked.push(asked);
        onAsked(asked);
      }
    });
  }
}

/** The response of a correct listener for a range of a ramp object. `with` replaces headers; undefined removes one. */
export interface RampAnswer {
  readonly first: number;
  /** One past the last byte. */
  readonly end: number;
  readonly objectSize: number;
  readonly version?: string;
  readonly status?: string;
  readonly with?: Readonly<Record<string, string | undefined>>;
}

/** Returns the response header of an HTTP listener. */
export function rampHead({
  first,
  end,
  objectSize,
  version = "v1",
  status = "206 Partial Content",
  ...answer
}: RampAnswer): string {
  const headers = {
    ETag: `"${version}"`,
    "Accept-Ranges": "bytes",
    "Content-Type": "binary/octet-stream",
    "Content-Length": String(end - first),
    "Content-Range": `bytes ${first}-${end - 1}/${objectSize}`,
    Connection: "keep-alive",
    ...answer.with,
  };
  const lines = Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
  return `HTTP/1.1 ${status}\r\n${lines.join("\r\n")}\r\n\r\n`;
}

/** Returns the whole response. */
export function rampAnswer(answer: RampAnswer): Buffer {
  return Buffer.concat([Buffer.from(rampHead(answer), "latin1"), ramp(answer.first, answer.end - answer.first)]);
}

/** Answers a read of a ramp object of `size` bytes as a correct listener does. */
export function answerRamp({ lines, socket }: Asked, size: number): void {
  const match = /^Range: bytes=(\d+)-(\d+)$/.exec(lines.find((line) => line.startsWith("Range: ")) ?? "");
  const [first, last] = [Number(match?.[1]), Number(match?.[2])];
  if (first < size) socket.write(rampAnswer({ first, end: Math.min(size, last + 1), objectSize: size }));
  else socket.write(errorAnswer("416 Range Not Satisfiable", "InvalidRange", `the object has ${size} bytes`));
}

/** Returns an error response of the HTTP listener. */
export function errorAnswer(
  status: string,
  code: string,
  message: string,
  headers = "",
  error = errorCodeOf(status, code),
): string {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message><Resource>/b/k</Resource><RequestId>1</RequestId></Error>`;
  return `HTTP/1.1 ${status}\r\nContent-Type: application/xml\r\n${error === undefined ? "" : `${ERROR_HEADER}: ${error}\r\n`}Content-Length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`;
}

/** Returns the ErrorCode of a status and an S3 code. */
function errorCodeOf(status: string, s3Code: string): ErrorCode | undefined {
  const codes = Object.entries(errorTable).filter(([, { http, s3 }]) => status.startsWith(`${http} `) || s3 === s3Code);
  const exact = codes.find(([, { s3 }]) => s3 === s3Code) ?? codes[0];
  return exact?.[0] as ErrorCode | undefined;
}
