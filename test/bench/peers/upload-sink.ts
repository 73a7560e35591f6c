import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** A process with an S3 endpoint that forgets the bytes of its objects. */
export class UploadSink implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly port: number;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  /** `isHashed`: it hashes each body for its ETag, as S3 does. */
  static async start(isHashed: boolean): Promise<UploadSink> {
    const main = join(import.meta.dirname, "upload-sink-main.ts");
    const child = fork(main, isHashed ? [] : ["unhashed"], { execArgv: ["--import", "tsx"] });
    const [port] = (await once(child, "message")) as [number];
    return new UploadSink(child, port);
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
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
