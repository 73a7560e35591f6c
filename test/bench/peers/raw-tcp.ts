import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Contestant } from "../measure.js";
import { REQUEST_BYTES, type SliceServer } from "./slice-server.js";

/** The most that one `read` of the kernel's brings. */
const READ_BYTES = 4 << 20;

/**
 * The speed of the socket: bytes without any protocol, received by `net` with `onread` into a buffer of the answer's size that
 * is used again and again.
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
      port: server.tcpPort,
      host: "127.0.0.1",
      noDelay: true,
      onread: { buffer: () => this.#room(), callback: (bytes) => this.#landed(bytes) },
    });
  }

  /** Each read brings `slices` times `sliceBytes`, the slices over each other. */
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
