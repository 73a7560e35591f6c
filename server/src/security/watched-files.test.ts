import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "../testing/manual-clock.js";
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

/** Two files that must say the same. */
function watch(): Promise<WatchedFiles<string>> {
  const read = ([a, b]: readonly Buffer[]): string => {
    if (a!.toString() !== b!.toString()) throw new Error("they differ");
    return a!.toString();
  };
  const onRefused = ({ message }: Error): void => void refused.push(message);
  return WatchedFiles.open({ paths: [path("a"), path("b")], read, onRefused, everyMs: 1_000, clock });
}

function write(a: string, b: string): void {
  writeFileSync(path("a"), a);
  writeFileSync(path("b"), b);
}

describe("watched files", () => {
  it("are read at once, and again when they change; listeners hear of changes alone", async () => {
    write("1", "1");
    const files = await watch();
    const heard: string[] = [];
    files.onChange((text) => heard.push(text));
    await files.look();
    write("2", "2");
    clock.advance(1_000);
    await expect.poll(() => files.current).toBe("2");
    expect(heard).toEqual(["2"]);
    await files.close();
  });

  it("keep what they said last while one of them is half exchanged, and tell of it once", async () => {
    write("1", "1");
    const files = await watch();
    write("2", "1");
    await files.look();
    await files.look();
    expect([files.current, refused]).toEqual(["1", ["they differ"]]);
    write("2", "2");
    await files.look();
    expect(files.current).toBe("2");
    await files.close();
  });

  it("keep what they said last when they are gone", async () => {
    write("1", "1");
    const files = await watch();
    rmSync(path("a"));
    await files.look();
    await files.look();
    expect([files.current, refused.length]).toEqual(["1", 1]);
    write("1", "1");
    await files.look();
    rmSync(path("a"));
    await files.look();
    expect([files.current, refused.length]).toEqual(["1", 2]);
    await files.close();
  });

  it("that can't be used in the beginning are told of", async () => {
    await expect(watch()).rejects.toThrow("ENOENT");
    write("1", "2");
    await expect(watch()).rejects.toThrow("they differ");
  });
});
