import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { areTestBytes, testBytes } from "../../testing/store-fixture.js";
import { loadLibc } from "./libc.js";
import { MAX_COPY_BYTES, PageCopies } from "./page-copies.js";

const BYTES = 100_000;
const POSIX_FADV_DONTNEED = 4;
const libc = await loadLibc();
const copies = libc && PageCopies.open(libc);
/** A file system in memory (by its magic number) does not report residency, and frees nothing. */
const isInMemory = statfsSync(tmpdir()).type === 0x0102_1994;

describe.runIf(copies !== undefined && !isInMemory)("copies of pages", () => {
  let directory: string;
  let fd: number;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "pages-"));
    const path = join(directory, "file");
    writeFileSync(path, testBytes(0, BYTES));
    fd = openSync(path, "r");
  });

  afterEach(() => {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });

  const take = (start: number, end: number) => copies!.take(fd, start, end);

  it("contain the file's bytes, each in separate memory until it is given back", () => {
    const two = [take(5, 15), take(50_000, 50_000 + MAX_COPY_BYTES)];
    expect(areTestBytes(two[0]?.bytes, 5, 10)).toBe(true);
    expect(areTestBytes(two[1]?.bytes, 50_000, MAX_COPY_BYTES)).toBe(true);
    for (const copy of two) copy!.giveBack();
  });

  it("are not available past the file's end, without a file, or for bytes that are not in memory", async () => {
    expect(take(BYTES - 10, BYTES + 1)).toBeUndefined();
    expect(copies!.take(9_999, 0, 10)).toBeUndefined();
    fsyncSync(fd);
    // The kernel keeps pages that it is using itself at this moment.
    await expect
      .poll(() => {
        libc!.posixFadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        const copy = take(0, 10);
        copy?.giveBack();
        return copy;
      })
      .toBeUndefined();
  });

  it("are limited in number, and reused", () => {
    const all = [];
    for (let next = take(0, 10); next !== undefined; next = take(0, 10)) all.push(next);
    expect(all).toHaveLength(256);
    all.pop()!.giveBack();
    all.push(take(0, 10)!);
    for (const copy of all) copy.giveBack();
  });
});
