import fs, { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { testBytes } from "../../testing/store-fixture.js";
import type { DiskFile, FilePiece } from "./disk.js";
import { FileCreator } from "./file-creator.js";

const FOOTER_AT = 1 << 20;

let directory: string;
let creator: FileCreator;
/** Paths of files that were created without the thread. */
let otherwise: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "creator-"));
  otherwise = [];
  creator = new FileCreator({
    otherwise: async (path) => {
      otherwise.push(path);
      return fileOf(fs.openSync(path, "wx+"), async () => undefined);
    },
    opened: fileOf,
    startAfter: 0,
  });
});

afterEach(() => {
  creator.close();
  rmSync(directory, { recursive: true });
});

function fileOf(fd: number, close: (fd: number) => Promise<void>): DiskFile {
  return { fd, close: () => close(fd) } as DiskFile;
}

function pieces(seed: number): FilePiece[] {
  return [
    { position: 0, sources: [testBytes(0, 3_000, seed), testBytes(3_000, 96, seed)] },
    { position: FOOTER_AT, sources: [testBytes(FOOTER_AT, 4_096, seed)] },
  ];
}

/** Creates files until one is created by the thread, which takes time to start. */
async function untilThreadWorks(): Promise<void> {
  for (let n = 0; ; n++) {
    const path = join(directory, `warm-up-${n}`);
    const file = await creator.create(path, [], false);
    await file.close();
    if (!otherwise.includes(path)) return;
    await new Promise(setImmediate);
  }
}

function create(name: string, isUrgent: boolean): Promise<DiskFile> {
  return creator.create(join(directory, name), pieces(1), isUrgent);
}

/** Runs `makeFiles` while timers wait for the test, and closes its files. */
async function withFakeTime(makeFiles: () => Promise<DiskFile[]>): Promise<void> {
  await untilThreadWorks();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  try {
    // Later than any time that was measured before.
    vi.advanceTimersByTime(1e9);
    const closed = (await makeFiles()).map((file) => file.close());
    vi.advanceTimersByTime(1_000);
    await Promise.all(closed);
  } finally {
    vi.useRealTimers();
  }
}

describe("a thread that creates small files", () => {
  it("creates many files, each with its own bytes in all places", async () => {
    await untilThreadWorks();
    otherwise = [];
    const paths = Array.from({ length: 300 }, (_, n) => join(directory, `${n}`));
    expect(creator.usesThread(pieces(0))).toBe(true);
    const files = await Promise.all(paths.map((path, n) => creator.create(path, pieces(n), false)));
    expect(otherwise).toEqual([]);
    for (const [n, path] of paths.entries()) {
      const bytes = readFileSync(path);
      expect(bytes.subarray(0, 3_096).equals(testBytes(0, 3_096, n))).toBe(true);
      expect(bytes.subarray(FOOTER_AT).equals(testBytes(FOOTER_AT, 4_096, n))).toBe(true);
    }
    expect(statSync(paths[0]!).mode & 0o777).toBe(0o600);
    await Promise.all(files.map((file) => file.close()));
  });

  it("rejects with the system's error for the file that it belongs to, and creates the others", async () => {
    await untilThreadWorks();
    writeFileSync(join(directory, "taken"), "");
    const results = await Promise.allSettled([
      creator.create(join(directory, "a"), pieces(1), false),
      creator.create(join(directory, "taken"), pieces(2), false),
      creator.create(join(directory, "missing", "b"), pieces(3), false),
      creator.create(join(directory, "c"), pieces(4), false),
    ]);
    const codes = results.map((result) => (result.status === "rejected" ? result.reason.code : "created"));
    expect(codes).toEqual(["created", "EEXIST", "ENOENT", "created"]);
    expect(
      readFileSync(join(directory, "c"))
        .subarray(0, 3_096)
        .equals(testBytes(0, 3_096, 4)),
    ).toBe(true);
  });

  it("gives open descriptors that its end does not close, and closes them when asked", async () => {
    await untilThreadWorks();
    const [kept, closed] = await Promise.all(
      ["a", "b"].map((name, n) => creator.create(join(directory, name), pieces(n), false)),
    );
    await closed!.close();
    expect(() => fs.fstatSync(closed!.fd!)).toThrow(/EBADF/);
    creator.close();
    expect(fs.fstatSync(kept!.fd!).size).toBe(FOOTER_AT + 4_096);
    await kept!.close();
    expect(() => fs.fstatSync(kept!.fd!)).toThrow(/EBADF/);
  });

  it("creates a file that comes alone at once, and those that follow together", async () => {
    await withFakeTime(async () => {
      const first = await create("first", false);
      expect(vi.getTimerCount()).toBe(0);
      const others = [create("second", false), create("third", false)];
      expect(vi.getTimerCount()).toBe(1);
      vi.advanceTimersByTime(1_000);
      return [first, ...(await Promise.all(others))];
    });
  }, 20_000);

  it("creates a file that somebody waits for at once, with those that wait", async () => {
    await withFakeTime(async () => {
      const first = await create("first", false);
      const files = [first, ...(await Promise.all([create("second", false), create("third", true)]))];
      expect(vi.getTimerCount()).toBe(0);
      return files;
    });
  }, 20_000);

  it("removes files, and rejects with the system's error for the one that it belongs to", async () => {
    await untilThreadWorks();
    for (const name of ["a", "b"]) writeFileSync(join(directory, name), "");
    const unlinks = vi.spyOn(fs, "unlink");
    const results = await Promise.allSettled(["a", "missing", "b"].map((name) => creator.remove(join(directory, name))));
    const codes = results.map((result) => (result.status === "rejected" ? result.reason.code : "removed"));
    expect(codes).toEqual(["removed", "ENOENT", "removed"]);
    expect(existsSync(join(directory, "a"))).toBe(false);
    expect(unlinks).not.toHaveBeenCalled();
    unlinks.mockRestore();
    creator.close();
    await expect(creator.remove(join(directory, "b"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("leaves large files, and all files after it was closed, to the thread pool", async () => {
    await untilThreadWorks();
    otherwise = [];
    const large = [{ position: 0, sources: [testBytes(0, 100_000)] }];
    expect(creator.usesThread(large)).toBe(false);
    await creator.create(join(directory, "large"), large, false);
    creator.close();
    expect(creator.usesThread(pieces(0))).toBe(false);
    await creator.create(join(directory, "small"), pieces(0), false);
    expect(otherwise).toEqual([join(directory, "large"), join(directory, "small")]);
  });
});
