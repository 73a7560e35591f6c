import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { NearDisk, PageTarget, RunningCall, ramp, systemClock } from "@frontcache/client/testing";
import { describe, expect, it } from "vitest";
import { temporaryDirectory } from "../e2e/member-process.js";

const WRITER = join(import.meta.dirname, "near-disk-writer.mjs");
/** The build's `@frontcache/client/testing`. */
const SUPPORT = join(import.meta.dirname, "..", "..", "client", "dist", "testing", "index.js");
const LIMIT_BYTES = 8 << 20;
const KILLS = 4;
const ROUNDS = 3;
const MINUTES = 60_000;

/** A process that writes into the directory. It ends with this process. */
class Writer {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(path: string, seed: number) {
    const end = ["--require", join(import.meta.dirname, "..", "end-with-parent.cjs")];
    this.#child = spawn(process.execPath, [...end, WRITER, SUPPORT, path, `${LIMIT_BYTES}`, `${seed}`], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#lines = createInterface(this.#child.stdout!)[Symbol.asyncIterator]();
  }

  /** Waits until it has written so often. */
  async written(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      const { done } = await this.#lines.next();
      if (done) throw new Error(`the writer ended with ${this.#child.exitCode}`);
    }
  }

  /** Ends it in the middle of whatever it does. */
  async kill(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}

function filesBelow(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

describe("a near cache's directory that two processes share", () => {
  it("has no wrong byte and stays within its limit while writers are killed, and the next process removes what they left", async () => {
    await using directory = await temporaryDirectory();
    let survivor = new Writer(directory.path, 1);
    await survivor.written(ROUNDS);
    for (let kill = 0; kill < KILLS; kill++) {
      const other = new Writer(directory.path, 2 + kill);
      await other.written(ROUNDS);
      await survivor.kill();
      await other.written(1);
      survivor = other;
    }
    await survivor.kill();

    const blocks = filesBelow(directory.path).filter((path) => path.endsWith(".blk"));
    const bytes = blocks.reduce((sum, path) => sum + statSync(path).blocks * 512, 0);
    expect(bytes).toBeLessThanOrEqual(LIMIT_BYTES);

    const nowMs = (): number => Date.now() + 2 * MINUTES;
    const disk = await NearDisk.open({
      path: directory.path,
      limitBytes: LIMIT_BYTES,
      clock: systemClock,
      log: undefined,
      nowMs,
    });
    const call = new RunningCall({ clock: systemClock, subject: "reading" });
    let readBytes = 0;
    for (let version = 0; version < 40; version++) {
      for (let page = 0; page < 6; page++) {
        const [from, end] = [page << 16, (page + 1) << 16];
        const range = { offset: from, length: 1 << 16, memory: undefined, from, end, objectSize: undefined };
        const target = new PageTarget(range);
        const found = await disk.read({ url: "s3://bucket/file", version: `v${version}` }, target, call);
        if (found === undefined) continue;
        expect(target.result(found.objectSize).equals(ramp(page << 16, 1 << 16))).toBe(true);
        readBytes += found.readBytes;
      }
    }
    call.end();
    expect(readBytes).toBeGreaterThan(0);
    disk.keep({ url: "s3://bucket/other", version: "v1", objectSize: 10 }, 0, ramp(0, 10));
    await disk.close();
    expect(disk.report).toMatchObject({ writtenBytes: 10, failures: 0, damagedBlocks: 0 });
    const leftOver = filesBelow(directory.path).filter((path) => !path.endsWith(".blk"));
    expect(leftOver).toEqual([]);
  });
});
