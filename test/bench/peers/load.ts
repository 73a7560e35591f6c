import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { LoadDone, LoadOrder } from "./load-main.js";

/** Loads gateways from a process of its own. */
export class Load implements Disposable {
  private constructor(private readonly child: ChildProcess) {}

  static async start(): Promise<Load> {
    const child = fork(join(import.meta.dirname, "load-main.ts"), { execArgv: ["--import", "tsx"] });
    await once(child, "message");
    return new Load(child);
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Answers a second. */
  async readsPerSecond(order: LoadOrder): Promise<number> {
    this.child.send(order);
    const [{ reads, ms }] = (await once(this.child, "message")) as [LoadDone];
    return (reads / ms) * 1e3;
  }

  [Symbol.dispose](): void {
    this.child.disconnect();
  }
}
