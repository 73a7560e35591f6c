import { execFileSync } from "node:child_process";
import fs, { closeSync, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blockDigest, blockPath } from "@frontcache/proto";
import {
  areTestBytes,
  type BlockStore,
  type Disk,
  ioParallelism,
  keep,
  openNodeDisk,
  openTestStore,
  poolThreads,
  readBlock,
  storageTuning,
  systemClock,
  testGeometry,
  testId,
  testInfo,
  testSegments,
} from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const { blockBytes: BLOCK } = testGeometry;
const BLOCKS = 24;
const ids = Array.from({ length: BLOCKS }, (_, name) => testId(`s3://bucket/${name}`));
const info = testInfo();

/** A disk on which opening a file in `directory` blocks a thread until `answer`. It opens a pipe that has no writer yet. */
class HangingDisk {
  readonly #directory: string;
  readonly #pipe: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.#pipe = join(directory, "pipe");
    execFileSync("mkfifo", [this.#pipe]);
  }

  around(disk: Disk): Disk {
    const open: Disk["open"] = async (path, mode) => {
      if (path.startsWith(this.#directory)) await this.#hang();
      return disk.open(path, mode);
    };
    const create: Disk["create"] = async (path, pieces) => {
      if (path.startsWith(this.#directory)) await this.#hang();
      return disk.create(path, pieces);
    };
    return {
      open,
      create,
      remove: (path) => disk.remove(path),
      list: (directory) => disk.list(directory),
      makeDirectory: (path) => disk.makeDirectory(path),
      survey: () => disk.survey(),
      space: (directory) => disk.space(directory),
      claim: (directory) => disk.claim(directory),
    };
  }

  answer(): void {
    closeSync(openSync(this.#pipe, "r+"));
  }

  #hang(): Promise<void> {
    return new Promise((resolve) => fs.open(this.#pipe, "r", (_error, fd) => fs.close(fd, () => resolve())));
  }
}

describe.skipIf(process.platform !== "linux")("a hung disk that occupies all threads it can get", () => {
  let directories: string[];

  beforeEach(() => {
    directories = ["a", "b"].map((name) => mkdtempSync(join(tmpdir(), `frontcache-hanging-${name}-`)));
  });
  afterEach(() => {
    for (const directory of directories) rmSync(directory, { recursive: true });
  });

  function open(disk: Disk): Promise<BlockStore> {
    return openTestStore({
      volumes: directories.map((path) => ({ path, limitBytes: 2 * BLOCKS * BLOCK })),
      geometry: testGeometry,
      disk,
      clock: systemClock,
      eviction: "slru",
      maxMappings: BLOCKS,
      purgeIntervalMs: 60_000,
      tuning: { ...storageTuning, ioParallelism: ioParallelism(directories.length, poolThreads()) },
    });
  }

  it("takes no threads of other volumes, whose blocks stay readable", async () => {
    const disk = await openNodeDisk();
    const first = await open(disk);
    for (const id of ids) await keep(first, id, info, testSegments(id, info));
    await first.close();
    const [hangingBlocks, others] = directories.map((path) =>
      ids.filter((id) => existsSync(blockPath(path, blockDigest(id, BLOCK)))),
    ) as [typeof ids, typeof ids];
    expect(hangingBlocks.length).toBeGreaterThan(poolThreads());

    const hanging = new HangingDisk(directories[0]!);
    const store = await open(hanging.around(disk));
    let answered = 0;
    const waiting = hangingBlocks.map(async (id) => {
      const bytes = await readBlock(store, id, 0, BLOCK);
      answered++;
      return areTestBytes(bytes, 0, BLOCK);
    });
    for (const id of others) expect(areTestBytes(await readBlock(store, id, 0, BLOCK), 0, BLOCK)).toBe(true);
    expect(answered).toBe(0);

    const keepAnswering = setInterval(() => hanging.answer(), 1);
    expect(await Promise.all(waiting)).not.toContain(false);
    clearInterval(keepAnswering);
    await store.close();
  });
});
