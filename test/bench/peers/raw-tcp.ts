import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Contestant } from "../measure.js";
import type { SliceServer } from "./peer-process.js";

/** Bytes of a request to the slice server: two 32-bit numbers. */
export const REQUEST_BYTES = 8;
/** The most bytes that one system call reads. */
const READ_BYTES = 4 << 20;

/**
 * The speed of the socket: bytes without any protocol, received by `net` with `onread` into a buffer that is reused and as
 * large as the response.
 */
export class RawTcp implements Contestant, Disposable {
  readonly name = "raw Node TCP";
  readonly serverPid: number;
  readonly #request = Buffer.alloc(REQUEST_BYTES);
  readonly #answer: Buffer;
  readonly #answerBytes: number;
  readonly #socket: Socket;
  #received = 0;
  #done: () => void = () => {};

  private constructor(server: SliceServer, sliceBytes: number, slices: number) {
    this.serverPid = server.pid;
    this.#request.writeUInt32LE(sliceBytes, 0);
    this.#request.writeUInt32LE(slices, 4);
    this.#answer = Buffer.alloc(sliceBytes);
    this.#answerBytes = sliceBytes * slices;
    this.#socket = connect({
      port: server.port.tcp,
      host: "127.0.0.1",
      noDelay: true,
      onread: { buffer: () => this.#room(), callback: (bytes) => this.#landed(bytes) },
    });
  }

  /** Each read receives `slices` times `sliceBytes`, each slice into the same memory. */
  static async connect(server: SliceServer, sliceBytes: number, slices = 1): Promise<RawTcp> {
    const tcp = new RawTcp(server, sliceBytes, slices);
    await once(tcp.#socket, "connect");
    return tcp;
  }

  readonly read = (): Promise<number> =>
    new Promise((resolve) => {
      this.#received = 0;
      this.#done = () => resolve(this.#answerBytes);
      this.#socket.write(this.#request);
    });

  #room(): Buffer {
    const at = this.#received % this.#answer.length;
    return this.#answer.subarray(at, at + READ_BYTES);
  }

  #landed(bytes: number): boolean {
    this.#received += bytes;
    if (this.#received === this.#answerBytes) this.#done();
    return true;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
