import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** One response as received. */
export interface RawAnswer {
  readonly status: number;
  /** Headers by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** An HTTP/1.1 client for tests: sends bytes unchanged, and reads responses only by their Content-Length. */
export class RawClient implements AsyncDisposable {
  readonly socket: Socket;

  readonly #chunks: Buffer[] = [];
  #received = 0;
  #ended = false;
  #wake: () => void = () => {};
  readonly #closed: Promise<void>;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.#closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => {}); // the listener may close the connection
    socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#received += chunk.length;
      this.#wake();
    });
    socket.on("close", () => {
      this.#ended = true;
      this.#wake();
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect({ port, host: "127.0.0.1" });
    await once(socket, "connect");
    return new RawClient(socket);
  }

  /** Sends bytes, or Latin-1 text. */
  send(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** Sends a request without a body. `headers` are lines without their ends. */
  request(method: string, target: string, ...headers: string[]): void {
    this.send([`${method} ${target} HTTP/1.1`, "Host: member", ...headers, "", ""].join("\r\n"));
  }

  async get(target: string, ...headers: string[]): Promise<RawAnswer> {
    this.request("GET", target, ...headers);
    return this.answer();
  }

  async head(target: string, ...headers: string[]): Promise<RawAnswer> {
    this.request("HEAD", target, ...headers);
    return this.answer(false);
  }

  /** Reads the next response; rejects if the connection ends first. `hasBody` false: it answers a HEAD. */
  async answer(hasBody = true): Promise<RawAnswer> {
    await this.#until(() => this.#all().includes("\r\n\r\n"));
    const end = this.#all().indexOf("\r\n\r\n");
    const [line = "", ...lines] = this.#all().toString("latin1", 0, end).split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1]);
    const headers = Object.fromEntries(lines.map((each) => [each.split(":")[0]!.toLowerCase(), each.replace(/^[^:]*: ?/, "")]));
    const from = end + 4;
    const to = from + (hasBody && status !== 304 ? Number(headers["content-length"]) : 0);
    await this.#until(() => this.#received >= to);
    const body = this.#all().subarray(from, to);
    const rest = this.#all().subarray(to);
    this.#chunks.splice(0, 1, rest);
    this.#received = rest.length;
    return { status, headers, body };
  }

  /** Returns the bytes of the next line, including its end. */
  async line(): Promise<Buffer> {
    await this.#until(() => this.#all().includes("\n"));
    const end = this.#all().indexOf("\n") + 1;
    const line = this.#all().subarray(0, end);
    this.#chunks.splice(0, 1, this.#all().subarray(end));
    this.#received -= end;
    return line;
  }

  /** Returns all bytes until the connection is closed. */
  async rest(): Promise<string> {
    await this.#closed;
    return this.#all().toString("latin1");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    await this.#closed;
  }

  /** Returns all received bytes that were not consumed. */
  #all(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks.splice(0, this.#chunks.length, Buffer.concat(this.#chunks));
    return this.#chunks[0]!;
  }

  async #until(isThere: () => boolean): Promise<void> {
    while (!isThere()) {
      if (this.#ended)
        throw new Error(`the connection ended in the middle of a response: ${this.#all().toString("latin1", 0, 200)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
