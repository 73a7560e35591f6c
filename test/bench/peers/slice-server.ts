import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** What the server has to give. */
export const BLOCK_BYTES = 16 << 20;
/** Two 32-bit numbers. */
export const REQUEST_BYTES = 8;

/** A block in memory, served by bare TCP and bare node:http from another process. */
export class SliceServer implements Disposable {
  private constructor(
    private readonly child: ChildProcess,
    readonly tcpPort: number,
    readonly httpPort: number,
  ) {}

  static async start(): Promise<SliceServer> {
    const child = fork(join(import.meta.dirname, "slice-server-main.ts"), { execArgv: ["--import", "tsx"] });
    const [{ tcp, http }] = (await once(child, "message")) as [{ tcp: number; http: number }];
    return new SliceServer(child, tcp, http);
  }

  get pid(): number {
    return this.child.pid!;
  }

  [Symbol.dispose](): void {
    this.child.disconnect();
  }
}
