import { execFileSync } from "node:child_process";
import fs, {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MemoryDisk } from "../../testing/memory-disk.js";
import { testBytes } from "../../testing/store-fixture.js";
import type { Disk, FileLook } from "./disk.js";
import { descriptorLimit, openNodeDisk } from "./node-disk.js";

const KiB = 1 << 10;
/** The type of ext2, ext3 and ext4. */
const EXT4 = 0xef53;

const disks: [string, () => Promise<Disk>][] = [
  ["this system's disk", openNodeDisk],
  ["the disk in memory", async () => new MemoryDisk({ totalBytes: KiB * KiB, nowMs: () => 1_700_000_000_000 })],
];

describe.each(disks)("%s", (_name, openDisk) => {
  let disk: Disk;
  let directory: string;

  beforeEach(async () => {
    disk = await openDisk();
    directory = mkdtempSync(join(tmpdir(), "disk-"));
    await disk.makeDirectory(directory);
  });

  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("reads written bytes in the middle, at the end and past it", async () => {
    const file = await disk.create(join(directory, "a"), []);
    await file.write([testBytes(0, 10_000)], 0);
    const target = Buffer.alloc(100);
    expect([await file.read(target, 5000), target.equals(testBytes(5000, 100))]).toEqual([100, true]);
    expect([await file.read(target, 9950), target.subarray(0, 50).equals(testBytes(9950, 50))]).toEqual([50, true]);
    expect(await file.read(target, 20_000)).toBe(0);
    await file.close();
  });

  it("writes several pieces consecutively, including empty ones", async () => {
    const file = await disk.create(join(directory, "a"), []);
    await file.write([testBytes(0, 5000), testBytes(0, 0), testBytes(5000, 1), testBytes(5001, 7000)], 0);
    await file.write([], 0);
    const target = Buffer.alloc(12_001);
    expect([await file.read(target, 0), target.equals(testBytes(0, 12_001))]).toEqual([12_001, true]);
    await file.close();
  });

  it("keeps files sparse, frees ranges and truncates", async () => {
    const file = await disk.create(join(directory, "a"), []);
    await file.write([testBytes(0, 4096)], 1 << 20);
    expect(await file.stat()).toMatchObject({ sizeBytes: (1 << 20) + 4096, allocatedBytes: 4096 });
    await file.write([testBytes(0, 16 * KiB)], 0);
    expect((await file.stat()).allocatedBytes).toBe(20 * KiB);
    expect(await file.deallocate(4096, 8 * KiB)).toBe(true);
    expect((await file.stat()).allocatedBytes).toBe(12 * KiB);
    const target = Buffer.alloc(16 * KiB);
    await file.read(target, 0);
    expect(target.equals(Buffer.concat([testBytes(0, 4096), Buffer.alloc(8 * KiB), testBytes(12 * KiB, 4096)]))).toBe(true);
    await file.truncate(5000);
    expect(await file.stat()).toMatchObject({ sizeBytes: 5000, allocatedBytes: 4096 });
    await file.close();
  });

  it("opens only existing files, creates only new ones, and keeps an unlinked open file", async () => {
    const path = join(directory, "a");
    await expect(disk.open(path, "read")).rejects.toMatchObject({ code: "ENOENT" });
    await expect(disk.open(path, "update")).rejects.toMatchObject({ code: "ENOENT" });
    const file = await disk.create(path, []);
    await expect(disk.create(path, [])).rejects.toMatchObject({ code: "EEXIST" });
    await file.write([testBytes(0, 10)], 0);
    await disk.remove(path);
    await expect(disk.remove(path)).rejects.toMatchObject({ code: "ENOENT" });
    expect(await file.read(Buffer.alloc(10), 0)).toBe(10);
    await file.close();
    await expect(disk.create(join(directory, "none", "a"), [])).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("creates files with their bytes in several places", async () => {
    const pieces = [
      { position: 0, sources: [testBytes(0, 5000), testBytes(5000, 10)] },
      { position: 1 << 20, sources: [testBytes(1 << 20, 4096)] },
    ];
    const file = await disk.create(join(directory, "a"), pieces);
    const target = Buffer.alloc(5010);
    await file.read(target, 0);
    expect(target.equals(testBytes(0, 5010))).toBe(true);
    expect(await file.read(target, 1 << 20)).toBe(4096);
    expect(target.subarray(0, 4096).equals(testBytes(1 << 20, 4096))).toBe(true);
    await expect(disk.create(join(directory, "a"), pieces)).rejects.toMatchObject({ code: "EEXIST" });
    await file.close();
  });

  it("lists names in order", async () => {
    for (const name of ["b", "a", "c"]) await (await disk.create(join(directory, name), [])).close();
    await disk.makeDirectory(join(directory, "d", "e"));
    await disk.makeDirectory(join(directory, "d", "e"));
    expect(await disk.list(directory)).toEqual(["a", "b", "c", "d"]);
    await expect(disk.list(join(directory, "none"))).rejects.toMatchObject({ code: "ENOENT" });
    await expect(disk.list(join(directory, "b"))).rejects.toMatchObject({ code: "ENOTDIR" });
  });

  it("keeps a file's time, to the millisecond, also through a descriptor that only reads", async () => {
    await (await disk.create(join(directory, "a"), [])).close();
    const file = await disk.open(join(directory, "a"), "read");
    await file.setModified(1_600_000_000_123);
    expect((await file.stat()).modifiedMs).toBe(1_600_000_000_123);
    await file.close();
  });

  it("surveys many files together: a piece and the stat of each, or its error", async () => {
    const paths = ["a", "b", "short", "none"].map((name) => join(directory, name));
    for (const [i, path] of paths.slice(0, 3).entries()) {
      const file = await disk.create(path, []);
      await file.write([testBytes(i, i === 2 ? 5_000 : 9_000)], 0);
      await file.setModified(1_600_000_000_000 + i);
      await file.close();
    }
    const survey = disk.survey();
    const all = await Promise.all([survey.look(paths.slice(0, 2), 4096, 4096), survey.look(paths.slice(2), 4096, 4096)]);
    const [a, b, short, none] = all.flat() as [FileLook, FileLook, FileLook, Error];
    expect([a, b, short].map(({ stat }) => stat.modifiedMs - 1_600_000_000_000)).toEqual([0, 1, 2]);
    expect(a.bytes.equals(testBytes(4096, 4096)) && b.bytes.equals(testBytes(4097, 4096))).toBe(true);
    expect(short.bytes.equals(testBytes(4098, 904))).toBe(true);
    expect([none instanceof Error, none]).toEqual([true, expect.objectContaining({ code: "ENOENT" })]);
    expect((await survey.look(paths.slice(0, 1), 0, 10))[0]).toMatchObject({ stat: { sizeBytes: 9_000 } });
    survey.close();
  });

  it("reports the capacity of the file system", async () => {
    const { totalBytes, freeBytes } = await disk.space(directory);
    expect(totalBytes).toBeGreaterThan(0);
    expect(freeBytes).toBeLessThanOrEqual(totalBytes);
  });

  it("lets one owner lock a directory at a time", async () => {
    const path = join(directory, "cache");
    const claim = await disk.claim(path);
    await expect(disk.claim(path)).rejects.toThrow(/cache is in use by another process/);
    await claim.release();
    await claim.release();
    await (await disk.claim(path)).release();
  });
});

describe("this system's disk", () => {
  it("rejects a directory that it cannot create, in one line that names it", async () => {
    const directory = mkdtempSync(join(tmpdir(), "disk-"));
    writeFileSync(join(directory, "file"), "");
    const disk = await openNodeDisk();
    await expect(disk.claim(join(directory, "file", "cache"))).rejects.toThrow(
      `${directory}/file/cache can't be used as a cache directory`,
    );
    rmSync(directory, { recursive: true });
  });

  it("writes many bytes in pieces of at most 256 KiB, wherever their sources end", async () => {
    const directory = mkdtempSync(join(tmpdir(), "disk-"));
    const file = await (await openNodeDisk()).create(join(directory, "a"), []);
    const writes = vi.spyOn(fs, "writev");
    const bytes = testBytes(0, 1101 * KiB);
    const ends = [0, 300 * KiB, 300 * KiB, 500 * KiB, 1100 * KiB, bytes.length];
    const sources = ends.slice(1).map((end, index) => bytes.subarray(ends[index], end));
    await file.write(sources, 1000);
    const written = writes.mock.calls.map(([, pieces]) => pieces.reduce((sum, { byteLength }) => sum + byteLength, 0));
    writes.mockRestore();
    const target = Buffer.alloc(bytes.length);
    expect([await file.read(target, 1000), target.equals(bytes)]).toEqual([bytes.length, true]);
    expect(Math.max(...written)).toBe(256 * KiB);
    await file.close();
    rmSync(directory, { recursive: true });
  });

  it("removes write access of others from block directories", async () => {
    const directory = mkdtempSync(join(tmpdir(), "disk-"));
    mkdirSync(join(directory, "v1"));
    chmodSync(join(directory, "v1"), 0o777);
    const claim = await (await openNodeDisk()).claim(directory);
    expect(statSync(join(directory, "v1")).mode & 0o777).toBe(0o700);
    expect(readFileSync(join(directory, "lock"), "utf8")).toBe(`${process.pid}\n`);
    await claim.release();
    rmSync(directory, { recursive: true });
  });

  it.runIf(process.platform === "linux")("has ext4 spread the directories of block files", async () => {
    for (const parent of [tmpdir(), "/dev/shm"]) {
      const directory = mkdtempSync(join(parent, "disk-"));
      await (await (await openNodeDisk()).claim(directory)).release();
      const isExt4 = statfsSync(directory).type === EXT4;
      const flags = isExt4
        ? execFileSync("lsattr", ["-d", join(directory, "v1")])
            .toString()
            .split(" ", 1)[0]
        : "";
      expect(flags!.includes("T"), directory).toBe(isExt4);
      rmSync(directory, { recursive: true });
    }
  });

  it.runIf(process.platform === "linux")("neither waits for a pipe nor follows a link in place of a file", async () => {
    const directory = mkdtempSync(join(tmpdir(), "disk-"));
    const [pipe, link, folder] = ["pipe", "link", "folder"].map((name) => join(directory, name));
    execFileSync("mkfifo", [pipe!]);
    symlinkSync("/etc/hostname", link!);
    mkdirSync(folder!);
    const disk = await openNodeDisk();
    const survey = disk.survey();
    const looks = (await survey.look([pipe!, link!, folder!], 0, 10)) as NodeJS.ErrnoException[];
    expect(looks.map(({ code }) => code)).toEqual(["ESPIPE", "ELOOP", "EISDIR"]);
    survey.close();
    await expect(disk.open(link!, "read")).rejects.toMatchObject({ code: "ELOOP" });
    const file = await disk.open(pipe!, "read");
    await expect(file.read(Buffer.alloc(10), 0)).rejects.toMatchObject({ code: "ESPIPE" });
    await file.close();
    rmSync(directory, { recursive: true });
  });

  it("aborts a survey that is closed, even while it hangs", async () => {
    const survey = (await openNodeDisk()).survey();
    const look = survey.look([import.meta.filename], 0, 10);
    survey.close();
    await expect(look).rejects.toThrow("the survey is over");
    await expect(survey.look([import.meta.filename], 0, 10)).rejects.toThrow("the survey is over");
  });

  it.runIf(process.platform === "linux")("reports how many files may be open", () => {
    expect(descriptorLimit()).toBeGreaterThan(0);
  });
});
