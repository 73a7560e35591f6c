import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** A process with a proxy of an origin: the least that one in Node can do. */
export class PlainProxy implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly port: number;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(endpoint: string): Promise<PlainProxy> {
    const child = fork(join(import.meta.dirname, "plain-proxy-main.ts"), { execArgv: ["--import", "tsx"] });
    child.send(endpoint);
    const [port] = (await once(child, "message")) as [number];
    return new PlainProxy(child, port);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.disconnect();
    await exited;
  }
}
