import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import type { Contestant } from "../measure.js";

/** A server with TLS on loopback, and what its certificate is checked by. */
export interface TlsTarget {
  readonly name: string;
  readonly port: number;
  /** Path of the object. */
  readonly path: string;
  readonly ca: string;
  readonly serverPid: number;
}

/** Reads the first bytes of an object over kept connections with TLS, and throws them away as they arrive. */
export class TlsReads implements Contestant, Disposable {
  readonly name: string;
  readonly serverPid: number;
  readonly #target: TlsTarget;
  readonly #request: string;
  readonly #length: number;
  readonly #free: TLSSocket[] = [];
  readonly #all: TLSSocket[] = [];

  constructor(target: TlsTarget, length: number) {
    this.name = target.name;
    this.serverPid = target.serverPid;
    this.#target = target;
    this.#length = length;
    this.#request = `GET ${target.path} HTTP/1.1\r\nHost: bench\r\nRange: bytes=0-${length - 1}\r\n\r\n`;
  }

  readonly read = async (): Promise<number> => {
    const socket = this.#free.pop() ?? (await this.#connect());
    const end = once(socket, "complete");
    socket.write(this.#request);
    const [bytes] = (await end) as [number];
    this.#free.push(socket);
    return bytes;
  };

  [Symbol.dispose](): void {
    for (const socket of this.#all) socket.destroy();
  }

  /** The cipher and the version that the server chose. */
  get agreed(): string {
    const [socket] = this.#all;
    return `${socket?.getProtocol()} ${socket?.getCipher().name}`;
  }

  async #connect(): Promise<TLSSocket> {
    const { port, ca } = this.#target;
    const socket = connect({ port, host: "127.0.0.1", ca });
    this.#all.push(socket);
    await once(socket, "secureConnect");
    let received = 0;
    let headBytes = 0;
    socket.on("data", (bytes: Buffer) => {
      if (headBytes === 0) headBytes = bytes.indexOf("\r\n\r\n") + 4;
      received += bytes.length;
      if (received < headBytes + this.#length) return;
      received = headBytes = 0;
      socket.emit("complete", this.#length);
    });
    return socket;
  }
}
