import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadLibc } from "../storage/mapping/libc.js";
import { Pipes } from "./pipes.js";

const libc = await loadLibc();

describe.runIf(libc !== undefined)("pipes", () => {
  let directory: string;
  let file: number;
  let pipes: Pipes;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "pipes-"));
    writeFileSync(join(directory, "file"), "bytes of a block");
    file = openSync(join(directory, "file"), "r");
    pipes = new Pipes(libc!);
  });

  afterEach(() => {
    pipes.close();
    expect(pipes.open).toBe(0);
    closeSync(file);
    rmSync(directory, { recursive: true });
  });

  it("hand out the bytes in order", () => {
    const pipe = pipes.take()!;
    expect([pipe.fill(file, 5), pipe.fill(file, 100), pipe.count]).toEqual([5, 11, 16]);
    expect([pipe.read(7).toString(), pipe.count]).toEqual(["bytes o", 9]);
    expect([pipe.read(100).toString(), pipe.count]).toEqual(["f a block", 0]);
    pipe.release();
  });

  it("are used again if they are empty", () => {
    const pipe = pipes.take()!;
    pipe.fill(file, 5);
    pipe.read(5);
    pipe.release();
    expect(pipes.take()).toBe(pipe);
    pipe.release();
  });

  it("are closed with bytes that nobody wants, so that no other user gets these", () => {
    const pipe = pipes.take()!;
    pipe.fill(file, 5);
    pipe.release();
    expect(pipes.open).toBe(0);
    const next = pipes.take()!;
    expect([next.count, next.fill(file, 2), next.read(2).toString()]).toEqual([0, 2, " o"]);
    next.release();
  });

  it("are at most 32", () => {
    const taken = Array.from({ length: 32 }, () => pipes.take()!);
    expect([pipes.take(), pipes.available, pipes.inUse]).toEqual([undefined, false, 32]);
    taken[0]!.release();
    expect([pipes.available, pipes.inUse]).toEqual([true, 31]);
    for (const pipe of taken.slice(1)) pipe.release();
    expect([pipes.inUse, pipes.open]).toEqual([0, 32]);
  });

  it("are missing if the system has none", () => {
    const none = new Pipes({ ...libc!, pipe2: () => -1 });
    expect([none.take(), none.open]).toEqual([undefined, 0]);
  });

  it("are closed when they are released after the end", () => {
    const pipe = pipes.take()!;
    pipes.close();
    expect(pipes.open).toBe(1);
    pipe.release();
    expect([pipes.open, pipes.take()]).toEqual([0, undefined]);
  });
});
