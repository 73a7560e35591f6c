import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { OriginCommand, OriginReply } from "./origin-main.js";
import type { StageObject } from "./stage.js";

const MAIN = join(import.meta.dirname, "origin-main.ts");

/** The S3 emulator in another process. Objects live in the bucket `bench`. */
export class OriginProcess implements AsyncDisposable {
  #nextId = 1;

  readonly #child: ChildProcess;
  readonly endpoint: string;

  private constructor(child: ChildProcess, endpoint: string) {
    this.#child = child;
    this.endpoint = endpoint;
    child.setMaxListeners(0);
  }

  static async start(): Promise<OriginProcess> {
    const child = fork(MAIN, { execArgv: ["--import", "tsx"] });
    const [hello] = (await once(child, "message")) as [OriginReply];
    return new OriginProcess(child, hello.version!);
  }

  /** Puts an object whose byte i is (i + seed) % 251; returns its URL and version. */
  async putRamp(key: string, size: number, seed: number): Promise<{ url: string; version: string }> {
    const { version } = await this.#ask({ kind: "ramp", key, size, seed });
    return { url: `s3://bench/${key}`, version: version! };
  }

  /** Puts an object of `size` bytes. */
  async putObject(key: string, size: number): Promise<StageObject> {
    return { key, size, ...(await this.putRamp(key, size, 1)) };
  }

  /** Puts objects with the keys `<prefix>-<number>`, number from 0 to count - 1. */
  async putMany(prefix: string, count: number, size: number): Promise<void> {
    await this.#ask({ kind: "many", prefix, count, size });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** From now on each response begins after `latencyMs` and is sent at `bytesPerSecond` (undefined: unlimited). */
  async pace(latencyMs: number, bytesPerSecond: number | undefined): Promise<void> {
    await this.#ask({ kind: "pace", latencyMs, bytesPerSecond });
  }

  /** From now on a response begins after `latencyMs`, 25 % more or less at random; a `share` of them after `tailMs`. */
  async tail(latencyMs: number, share: number, tailMs: number): Promise<void> {
    await this.#ask({ kind: "tail", latencyMs, share, tailMs });
  }

  /** GETs that were answered, all requests (aborted ones included) and bytes, since the last call. */
  async traffic(): Promise<{ gets: number; requests: number; bytesSent: number }> {
    const { gets, requests, bytesSent } = await this.#ask({ kind: "traffic" });
    return { gets: gets!, requests: requests!, bytesSent: bytesSent! };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.disconnect();
    await exited;
  }

  #ask(command: OriginCommand): Promise<OriginReply> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const onMessage = (reply: OriginReply): void => {
        if (reply.id !== id) return;
        this.#child.off("message", onMessage);
        resolve(reply);
      };
      this.#child.on("message", onMessage);
      this.#child.send({ id, command });
    });
  }
}
