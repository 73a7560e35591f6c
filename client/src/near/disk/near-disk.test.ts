import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeFooter } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LogEntry } from "../../client-log.js";
import { RunningCall } from "../../members/running-call.js";
import { FaultyFiles } from "../../testing/faulty-files.js";
import { ramp } from "../../testing/ramp.js";
import { PAGE_BYTES } from "../page-memory.js";
import { PageTarget } from "../page-target.js";
import { NEAR_GEOMETRY } from "./near-directory.js";
import { NearDisk, type NearDiskOptions } from "./near-disk.js";

const { blockBytes } = NEAR_GEOMETRY;
const url = "s3://bucket/file";
/** A block and two pages and a half. */
const objectSize = blockBytes + 2.5 * PAGE_BYTES;
const object = { url, version: "v1", objectSize };
const MINUTES = 60_000;

let path: string;
let skewMs: number;
const clock = new ManualClock(0);
const open: NearDisk[] = [];

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), "frontcache-near-"));
  skewMs = 0;
});
afterEach(async () => {
  for (const disk of open.splice(0)) await disk.close();
  rmSync(path, { recursive: true, force: true });
});

async function openDisk(options: Partial<NearDiskOptions> = {}): Promise<NearDisk> {
  const nowMs = (): number => Date.now() + skewMs;
  const disk = await NearDisk.open({ path, limitBytes: 64 << 20, clock, log: undefined, nowMs, ...options });
  open.push(disk);
  return disk;
}

/** Keeps pages of the object, from a page's beginning. */
async function keep(disk: NearDisk, offset: number, pages: number, of = object): Promise<void> {
  disk.keep(of, offset, ramp(offset, Math.min(pages * PAGE_BYTES, of.objectSize - offset)));
  await disk.flush();
}

/** Returns the bytes at the beginning of the range that are on the disk. Throws if one is wrong. */
async function read(
  disk: NearDisk,
  offset: number,
  pages: number,
  of: { url: string; version: string } = object,
): Promise<number> {
  const call = new RunningCall({ clock, subject: url });
  const [from, length] = [offset, pages * PAGE_BYTES];
  const target = new PageTarget({ offset, length, memory: undefined, from, end: from + length, objectSize: undefined });
  const found = await disk.read(of, target, call);
  call.end();
  if (found === undefined) return 0;
  if (!target.result(found.objectSize).subarray(0, found.readBytes).equals(ramp(offset, found.readBytes)))
    throw new Error("a wrong byte");
  return found.readBytes;
}

function filesBelow(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

const blockFiles = (): string[] => filesBelow(path).filter((name) => name.endsWith(".blk"));
const own = (): string => join(path, "frontcache-near");
const allocatedBytes = (): number => blockFiles().reduce((sum, file) => sum + statSync(file).blocks * 512, 0);

describe("the near cache's disk", () => {
  it("returns what was written, in every process that shares the directory, and after a restart", async () => {
    const first = await openDisk();
    const second = await openDisk();
    await keep(first, PAGE_BYTES, 3);
    expect(await read(first, PAGE_BYTES, 3)).toBe(3 * PAGE_BYTES);
    expect(await read(second, 2 * PAGE_BYTES, 1)).toBe(PAGE_BYTES);
    expect(await read(first, 0, 2)).toBe(0);
    await first.close();
    expect(await read(await openDisk(), PAGE_BYTES, 2)).toBe(2 * PAGE_BYTES);
  });

  it("writes block files of format 2, which name their object, and nobody else may read them", async () => {
    const disk = await openDisk();
    await keep(disk, blockBytes, 3);
    const [file] = blockFiles();
    const footer = readFileSync(file!).subarray(blockBytes);
    expect(footer.readUInt32LE(8)).toBe(2);
    expect(decodeFooter(footer, NEAR_GEOMETRY)).toMatchObject({
      id: { url, version: "v1", offset: blockBytes },
      info: { version: "v1", objectSize },
      crcs: [expect.any(Number), expect.any(Number), expect.any(Number)],
    });
    expect(statSync(file!).mode & 0o077).toBe(0);
  });

  it("adds pages to a block's file, whoever created it", async () => {
    const disks = [await openDisk(), await openDisk(), await openDisk()];
    for (const [at, disk] of disks.entries()) await keep(disk, at * PAGE_BYTES, 1);
    for (const disk of disks) expect(await read(disk, 0, 3)).toBe(3 * PAGE_BYTES);
    expect(blockFiles()).toHaveLength(1);
  });

  it("reads block by block, to the object's end, until a block is not complete", async () => {
    const disk = await openDisk();
    const last = blockBytes - PAGE_BYTES;
    await keep(disk, last, 1);
    expect(await read(disk, last, 2)).toBe(PAGE_BYTES);
    await keep(disk, blockBytes, 3);
    expect(await read(disk, last, 5)).toBe(3.5 * PAGE_BYTES);
    expect(await read(disk, blockBytes + 2 * PAGE_BYTES, 1)).toBe(PAGE_BYTES / 2);
    expect(await read(disk, blockBytes + 3 * PAGE_BYTES, 1)).toBe(0);
    expect(await read(disk, last, 1, { url, version: "v2" })).toBe(0);
    expect(await read(disk, last, 1, { url: `${url}2`, version: "v1" })).toBe(0);
  });

  it("has nothing wrong, whenever the process is killed while it writes, and removes what is left over", async () => {
    let isDone = false;
    for (let diesAfter = 1; !isDone; diesAfter++) {
      rmSync(path, { recursive: true });
      const files = new FaultyFiles();
      await keep(await openDisk(), 0, 1);
      files.diesAfter = diesAfter;
      const dying = await openDisk({ files }).catch(() => undefined);
      if (dying === undefined) continue;
      await keep(dying, 0, 3);
      await keep(dying, blockBytes, 2);
      isDone = !files.isDead;

      const next = await openDisk();
      const [first, second] = [await read(next, 0, 3), await read(next, blockBytes, 2)];
      // Half a footer loses the block's pages.
      expect([0, PAGE_BYTES]).toContain(await read(next, 0, 1));
      expect([0, 3 * PAGE_BYTES]).toContain(first);
      expect([0, 2 * PAGE_BYTES]).toContain(second);
      await keep(next, 0, 3);
      await keep(next, blockBytes, 2);
      expect([await read(next, 0, 3), await read(next, blockBytes, 2)]).toEqual([3 * PAGE_BYTES, 2 * PAGE_BYTES]);

      for (const each of open.splice(0)) await each.close();
      skewMs += 2 * MINUTES;
      const later = await openDisk();
      await keep(later, 4 * PAGE_BYTES, 1);
      await later.close();
      expect(filesBelow(own()).filter((file) => !file.endsWith(".blk"))).toEqual([]);
    }
  });

  it("survives a full disk: reads ask the cluster, one log entry says it, and later it writes again", async () => {
    const files = new FaultyFiles();
    const log: LogEntry[] = [];
    const disk = await openDisk({ files, log: (entry) => log.push(entry) });
    await keep(disk, 0, 1);
    files.failWith = "ENOSPC";
    await keep(disk, PAGE_BYTES, 1);
    await keep(disk, blockBytes, 1);
    expect(await read(disk, 0, 1)).toBe(PAGE_BYTES);
    expect(await read(disk, PAGE_BYTES, 1)).toBe(0);
    expect(log.map(({ event }) => event)).toEqual(["near-disk-failed"]);
    expect(log[0]!.message).toBe(`near.disk: ${path} can't be written, reads ask the cluster: ENOSPC: a fault of the test`);
    expect(disk.report).toMatchObject({ failures: 1, writtenBytes: PAGE_BYTES, skippedBytes: 2 * PAGE_BYTES });
    files.failWith = undefined;
    clock.advance(10_000);
    await keep(disk, PAGE_BYTES, 1);
    expect(await read(disk, 0, 2)).toBe(2 * PAGE_BYTES);
    expect(log.map(({ event }) => event)).toEqual(["near-disk-failed", "near-disk-recovered"]);
  });

  it("is usable although the disk is full at the start", async () => {
    await keep(await openDisk(), 0, 1);
    const files = new FaultyFiles();
    const create = files.open.bind(files);
    files.open = async (file, mode) => {
      if (mode === "create") throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
      return await create(file, mode);
    };
    expect(await read(await openDisk({ files }), 0, 1)).toBe(PAGE_BYTES);
  });

  it.each(["EACCES", "EROFS"])("refuses a directory that is not writable (%s) in one line", async (code) => {
    const files = new FaultyFiles();
    files.failWith = code;
    const message = `near.disk: ${path} can't be used (${code}): it must be a writable directory`;
    await expect(openDisk({ files })).rejects.toMatchObject({ code: "PERMISSION_DENIED", message });
  });

  it("refuses a path that is a file in one line", async () => {
    writeFileSync(join(path, "file"), "");
    await expect(openDisk({ path: join(path, "file") })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringMatching(/^near\.disk: .*\/file can't be used \(E[A-Z]+\): it must be a writable directory$/),
    });
  });

  it("neither counts nor removes the files of strangers", async () => {
    mkdirSync(join(own(), "v1", "ab"), { recursive: true });
    mkdirSync(join(own(), "tmp"));
    const strangers = ["notes.txt", "frontcache-near/v1/ab/x.blk", "frontcache-near/v1/readme", "frontcache-near/tmp/theirs"];
    for (const name of strangers) {
      writeFileSync(join(path, name), Buffer.alloc(3 << 20));
      utimesSync(join(path, name), 1, 1);
    }
    const disk = await openDisk({ limitBytes: 4 << 20 });
    for (let page = 0; page < 70; page++) await keep(disk, page * PAGE_BYTES, 1, { ...object, version: `v${page}` });
    await disk.evict({ prefix: "" });
    expect(blockFiles()).toHaveLength(1);
    for (const name of strangers) expect(statSync(join(path, name)).size).toBe(3 << 20);
  });

  it.each([0, 100, PAGE_BYTES, 2 * PAGE_BYTES + 1, blockBytes, blockBytes + 4_000])(
    "returns no wrong byte of a file that somebody cut at byte %i, and writes the block again",
    async (bytes) => {
      const [disk, other] = [await openDisk(), await openDisk()];
      await keep(disk, 0, 3);
      expect([await read(disk, 0, 3), await read(other, 0, 3)]).toEqual([3 * PAGE_BYTES, 3 * PAGE_BYTES]);
      truncateSync(blockFiles()[0]!, bytes);
      truncateSync(blockFiles()[0]!, blockBytes + 4_096);
      // What is whole may be returned.
      for (const each of [disk, other]) for (let page = 0; page < 3; page++) await read(each, page * PAGE_BYTES, 1);
      clock.advance(2_000);
      await keep(other, 0, 3);
      clock.advance(2_000);
      expect([await read(disk, 0, 3), await read(other, 0, 3)]).toEqual([3 * PAGE_BYTES, 3 * PAGE_BYTES]);
    },
  );

  it("returns no byte that somebody changed, removes the file, and counts it", async () => {
    const disk = await openDisk();
    await keep(disk, 0, 2);
    expect(await read(disk, 0, 2)).toBe(2 * PAGE_BYTES);
    const bytes = readFileSync(blockFiles()[0]!);
    bytes[PAGE_BYTES + 7]! ^= 1;
    writeFileSync(blockFiles()[0]!, bytes);
    expect(await read(disk, 0, 2)).toBe(0);
    await disk.close();
    expect(blockFiles()).toEqual([]);
    expect(disk.report.damagedBlocks).toBe(1);
  });

  it("continues if somebody removes the directory", async () => {
    const disk = await openDisk();
    await keep(disk, 0, 1);
    rmSync(path, { recursive: true });
    await keep(disk, 0, 1);
    clock.advance(60_000);
    await keep(disk, PAGE_BYTES, 1);
    expect(await read(disk, PAGE_BYTES, 1)).toBe(PAGE_BYTES);
  });

  it("removes the blocks of an object, of a version, and of a prefix, and also those that are being written", async () => {
    const disk = await openDisk();
    const keys = ["a/1", "a/2", "b"].map((key) => `s3://bucket/${key}`);
    const cached = async (): Promise<string[]> => {
      const found: string[] = [];
      for (const each of keys)
        for (const version of ["v1", "v2"])
          if ((await read(disk, 0, 1, { url: each, version })) > 0) found.push(`${each} ${version}`);
      clock.advance(2_000);
      return found;
    };
    for (const each of keys)
      for (const version of ["v1", "v2"]) disk.keep({ url: each, version, objectSize }, 0, ramp(0, PAGE_BYTES));
    await disk.evict({ url: keys[0]!, version: "v1" });
    expect(await cached()).toHaveLength(5);
    await disk.evict({ prefix: "s3://bucket/a/" });
    expect(await cached()).toEqual([`${keys[2]} v1`, `${keys[2]} v2`]);
    await disk.evict({ url: keys[2]! });
    expect(await cached()).toEqual([]);
  });

  it("does not let reads wait for a slow disk: pages beyond 32 MiB are not written", async () => {
    const disk = await openDisk({ limitBytes: 2 ** 30 });
    const large = { ...object, objectSize: 48 << 20 };
    for (let block = 0; block < 3; block++) disk.keep(large, block * blockBytes, ramp(block * blockBytes, blockBytes));
    await disk.flush();
    expect(disk.report).toMatchObject({ writtenBytes: 32 << 20, skippedBytes: 16 << 20, failures: 0 });
  });
});

describe("the space of several processes in one directory", () => {
  /** A file of one page, its footer, and what the file system rounds up. */
  const FILE_BYTES = PAGE_BYTES + 2 * 4_096;

  it("stays within the limit at every moment, whatever each of them writes", async () => {
    const limitBytes = 8 << 20;
    const disks = [await openDisk({ limitBytes }), await openDisk({ limitBytes }), await openDisk({ limitBytes })];
    for (let round = 0; round < 50; round++) {
      for (const [at, disk] of disks.entries()) disk.keep({ ...object, version: `v${round}-${at}` }, 0, ramp(0, PAGE_BYTES));
      await Promise.all(disks.map((disk) => disk.flush()));
      expect(allocatedBytes()).toBeLessThanOrEqual(limitBytes);
      clock.advance(1_000);
    }
    // Three reservations of a 32nd each are free, and as much again may be.
    expect(allocatedBytes()).toBeGreaterThan(limitBytes / 2);
    for (const disk of disks) expect(disk.report.failures).toBe(0);
  });

  it("is taken from the blocks that were not used for longest", async () => {
    const limitBytes = 40 * FILE_BYTES;
    const disk = await openDisk({ limitBytes });
    const version = (at: number): { url: string; version: string } => ({ url, version: `v${at}` });
    for (let at = 0; at < 20; at++) {
      await keep(disk, 0, 1, { ...object, ...version(at) });
      const [newest] = blockFiles().sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
      utimesSync(newest!, 1_000 + at, 1_000 + at);
    }
    expect(await read(disk, 0, 1, version(0))).toBe(PAGE_BYTES);
    // Reports the use.
    await disk.close();
    const next = await openDisk({ limitBytes });
    for (let at = 20; at < 45; at++) await keep(next, 0, 1, { ...object, ...version(at) });
    expect(await read(next, 0, 1, version(0))).toBe(PAGE_BYTES);
    expect(await read(next, 0, 1, version(1))).toBe(0);
  });

  it("counts a process that died for a minute", async () => {
    const limitBytes = 8 << 20;
    const files = new FaultyFiles();
    await keep(await openDisk({ limitBytes, files }), 0, 1);
    files.diesAfter = files.changes;
    for (const disk of open.splice(0)) await disk.close();
    const writers = (): string[] => readdirSync(join(own(), "writers"));
    const [dead] = writers();
    await keep(await openDisk({ limitBytes }), PAGE_BYTES, 1);
    expect(writers()).toContain(dead);
    skewMs = 2 * MINUTES;
    await keep(await openDisk({ limitBytes }), 2 * PAGE_BYTES, 1);
    expect(writers()).not.toContain(dead);
  });
});
