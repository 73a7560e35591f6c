import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { testBytes } from "../../testing/store-fixture.js";
import type { DiskFile } from "../disk/disk.js";
import { loadLibc } from "./libc.js";
import { type Mapping, noMapping, openMapper, SystemMapper } from "./mapping.js";
import { CachestatResidency, MincoreResidency } from "./residency.js";

const libc = await loadLibc();
const BLOCK = 1 << 20;
const POSIX_FADV_DONTNEED = 4;
/** A file system in memory (by its magic number) lets nothing go. */
const isInMemory = statfsSync(tmpdir()).type === 0x0102_1994;

/** A mapping needs no more of a file than its descriptor. */
function asFile(fd: number): DiskFile {
  return { fd } as DiskFile;
}

describe("without the C library", () => {
  it("maps nothing", () => {
    expect(noMapping.map(asFile(0), BLOCK)).toBeUndefined();
  });
});

describe.runIf(libc !== undefined).each([
  ["cachestat", CachestatResidency],
  ["mincore", MincoreResidency],
] as const)("a mapping with %s", (_name, Residency) => {
  let directory: string;
  let path: string;
  let fd: number;
  const mapper = libc && new SystemMapper(libc, new Residency(libc), { blockBytes: BLOCK, maxMappings: 3 });

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "mapping-"));
    path = join(directory, "file");
    writeFileSync(path, testBytes(0, BLOCK));
    fd = openSync(path, "r+");
  });

  afterEach(() => {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });

  function mapped<T>(use: (mapping: Mapping) => T): T {
    const mapping = mapper!.map(asFile(fd), BLOCK)!;
    try {
      return use(mapping);
    } finally {
      mapping.unmap();
    }
  }

  it("supports blocks of 1 GiB, the maximum setting", () => {
    const large = new SystemMapper(libc!, new Residency(libc!), { blockBytes: 1 << 30, maxMappings: 2 });
    const mappings = [0, 1].map(() => large.map(asFile(fd), 1 << 30)!);
    for (const mapping of mappings) {
      expect(mapping.bytes.length).toBe(1 << 30);
      expect(mapping.bytes.subarray(0, BLOCK).equals(testBytes(0, BLOCK))).toBe(true);
      mapping.unmap();
    }
  });

  it("contains the file's bytes, also those written later", () => {
    mapped((mapping) => {
      expect(mapping.isResident(0, BLOCK)).toBe(true);
      expect(mapping.bytes.equals(testBytes(0, BLOCK))).toBe(true);
      writeSync(fd, Buffer.from("new"), 0, 3, 5000);
      expect(mapping.bytes.toString("latin1", 5000, 5003)).toBe("new");
    });
  });

  it("does not contain bytes after a truncation, also in the last page", () => {
    mapped((mapping) => {
      expect(mapping.isResident(0, 9000)).toBe(true);
      ftruncateSync(fd, 9000);
      expect(mapping.isResident(0, 9000)).toBe(true);
      expect(mapping.isResident(0, 9001)).toBe(false);
      expect(mapping.isResident(20_000, 20_001)).toBe(false);
      ftruncateSync(fd, 0);
      expect(mapping.isResident(0, 1)).toBe(false);
    });
  });

  it("reports holes and dropped pages as not resident", () => {
    ftruncateSync(fd, 0);
    ftruncateSync(fd, BLOCK);
    writeSync(fd, testBytes(0, 4096), 0, 4096, 65_536);
    mapped((mapping) => {
      expect(mapping.isResident(65_536, 65_537)).toBe(true);
      expect(mapping.isResident(65_536, 65_536 + 4096)).toBe(true);
      expect(mapping.isResident(200_000, 200_001)).toBe(false);
      expect(mapping.isResident(0, BLOCK)).toBe(false);
    });
  });

  it.skipIf(isInMemory)("reports a file as cold after its pages were dropped", () => {
    fsyncSync(fd);
    libc!.posixFadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    mapped((mapping) => expect(mapping.isResident(0, BLOCK)).toBe(false));
  });

  it("prefaults outside the main thread, also past a truncation", async () => {
    const mapping = mapper!.map(asFile(fd), BLOCK)!;
    await mapping.populate(5000, BLOCK);
    expect(mapping.bytes[BLOCK - 1]).toBe(testBytes(BLOCK - 1, 1)[0]);
    ftruncateSync(fd, 100);
    await mapping.populate(0, BLOCK);
    mapping.unmap();
  });

  it("is limited in number, and places are reused", () => {
    const mappings: Mapping[] = [];
    for (let next = mapper!.map(asFile(fd), BLOCK); next !== undefined; next = mapper!.map(asFile(fd), BLOCK))
      mappings.push(next);
    expect(mappings).toHaveLength(3 + 64);
    mappings.pop()!.unmap();
    const again = mapper!.map(asFile(fd), BLOCK)!;
    expect(again.bytes.equals(testBytes(0, BLOCK))).toBe(true);
    for (const mapping of [...mappings, again]) mapping.unmap();
  });

  it("is not created for files that cannot be mapped", () => {
    expect(mapper!.map(asFile(9999), BLOCK)).toBeUndefined();
    expect(mapper!.map({} as DiskFile, BLOCK)).toBeUndefined();
    expect(mapper!.map(asFile(fd), BLOCK + 1)).toBeUndefined();
    mapped((mapping) => expect(mapping.isResident(0, 1)).toBe(true));
  });

  it("leaves no mapped memory after its end", () => {
    mapped(() => expect(readFileSync("/proc/self/maps", "utf8")).toContain(path));
    expect(readFileSync("/proc/self/maps", "utf8")).not.toContain(path);
  });
});

describe.runIf(libc !== undefined)("this system's mapper", () => {
  it("maps", async () => {
    const directory = mkdtempSync(join(tmpdir(), "mapping-"));
    const path = join(directory, "file");
    writeFileSync(path, testBytes(0, 10_000));
    const fd = openSync(path, "r");
    const mapper = await openMapper({ blockBytes: 10_000, maxMappings: 1 });
    const mapping = mapper.map(asFile(fd), 10_000)!;
    expect(mapping.isResident(9999, 10_000)).toBe(true);
    expect(mapping.bytes.subarray(0, 10_000).equals(testBytes(0, 10_000))).toBe(true);
    mapping.unmap();
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });
});
