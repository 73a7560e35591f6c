import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** A server in a process of its own, which sends a message when it listens, and ends when its parent disconnects. */
export class PeerProcess<Port> implements Disposable, AsyncDisposable {
  readonly #child: ChildProcess;
  /** What it has sent: its port or ports. */
  readonly port: Port;

  private constructor(child: ChildProcess, port: Port) {
    this.#child = child;
    this.port = port;
  }

  /** `main`: the name of its program in this folder. `order`: a message that it needs before it listens. */
  static async start<Port>(main: string, args: readonly string[] = [], order?: string): Promise<PeerProcess<Port>> {
    const child = fork(join(import.meta.dirname, main), args, { execArgv: ["--import", "tsx"] });
    if (order !== undefined) child.send(order);
    const [port] = (await once(child, "message")) as [Port];
    return new PeerProcess(child, port);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  [Symbol.dispose](): void {
    this.#child.disconnect();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.disconnect();
    await exited;
  }
}

/** A proxy of an origin: the least that one in Node can do. */
export function startPlainProxy(endpoint: string): Promise<PeerProcess<number>> {
  return PeerProcess.start("plain-proxy-main.ts", [], endpoint);
}

/** An S3 endpoint that forgets the bytes of its objects. `isHashed`: it hashes each body for its ETag, as S3 does. */
export function startUploadSink(isHashed: boolean): Promise<PeerProcess<number>> {
  return PeerProcess.start("upload-sink-main.ts", isHashed ? [] : ["unhashed"]);
}

export type SliceServer = PeerProcess<{ readonly tcp: number; readonly bareHttp: number; readonly http: number }>;

/** A block in memory, served by plain TCP, by a bare `net` server and by plain `node:http`. */
export function startSliceServer(): Promise<SliceServer> {
  return PeerProcess.start("slice-server-main.ts");
}

/** A bare server with TLS. `files`: the paths of its certificate and key. */
export function startBareTls(files: readonly [string, string]): Promise<PeerProcess<number>> {
  return PeerProcess.start("bare-tls-main.ts", files);
}
