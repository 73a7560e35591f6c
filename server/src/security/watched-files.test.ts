import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WatchedFiles } from "./watched-files.js";

let directory: string;
let clock: ManualClock;
let refused: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "frontcache-watched-"));
  clock = new ManualClock();
  refused = [];
});

afterEach(() => {
  rmSync(directory, { recursive: true });
  expect(clock.waits).toBe(0);
});

const path = (name: string): string => join(directory, name);

/** Two files that must be equal. */
function watch(waitsForWriters = false): Promise<WatchedFiles<string>> {
  const read = ([a, b]: readonly Buffer[]): string => {
    if (a!.toString() !== b!.toString()) throw new Error("they differ");
    return a!.toString();
  };
  const onRefused = ({ message }: Error): void => void refused.push(message);
  return WatchedFiles.open({ paths: [path("a"), path("b")], read, onRefused, waitsForWriters, everyMs: 1_000, clock });
}

function write(a: string, b: string): void {
  writeFileSync(path("a"), a);
  writeFileSync(path("b"), b);
}

describe("watched files", () => {
  it("are read at once, and again when they change; listeners are called for changes only", async () => {
    write("1", "1");
    const files = await watch();
    const changes: string[] = [];
    files.onChange((text) => changes.push(text));
    await files.poll();
    write("2", "2");
    clock.advance(1_000);
    await expect.poll(() => files.current).toBe("2");
    expect(changes).toEqual(["2"]);
    await files.close();
  });

  it("that may be written slowly are used when two polls in a row find the same", async () => {
    write("1", "1");
    const files = await watch(true);
    write("2", "2");
    await files.poll();
    expect([files.current, files.revision]).toEqual(["1", 0]);
    write("3", "3");
    await files.poll();
    expect(files.current).toBe("1");
    await files.poll();
    expect([files.current, files.revision]).toEqual(["3", 1]);
    // What is as before again was never another.
    write("4", "4");
    await files.poll();
    write("3", "3");
    await files.poll();
    write("4", "4");
    await files.poll();
    expect([files.current, files.revision]).toEqual(["3", 1]);
    await files.close();
  });

  it("keep their last meaning while only half of a change is there, and report it once", async () => {
    write("1", "1");
    const files = await watch();
    write("2", "1");
    await files.poll();
    await files.poll();
    expect([files.current, refused]).toEqual(["1", ["they differ"]]);
    write("2", "2");
    await files.poll();
    expect(files.current).toBe("2");
    await files.close();
  });

  it("keep their last meaning when a file is missing", async () => {
    write("1", "1");
    const files = await watch();
    rmSync(path("a"));
    await files.poll();
    await files.poll();
    expect([files.current, refused.length]).toEqual(["1", 1]);
    write("1", "1");
    await files.poll();
    rmSync(path("a"));
    await files.poll();
    expect([files.current, refused.length]).toEqual(["1", 2]);
    await files.close();
  });

  it("reject opening if they cannot be used", async () => {
    await expect(watch()).rejects.toThrow("ENOENT");
    write("1", "2");
    await expect(watch()).rejects.toThrow("they differ");
  });
});
