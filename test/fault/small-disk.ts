import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A small real file system in memory (tmpfs), unmounted after the test. Linux and root only: see `mayMount`. */
export class SmallDisk implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "frontcache-disk-"));
  readonly #foreign = join(this.path, "foreign");

  /** `inodes`: the number of files and directories that it can have; absent: the kernel's default. */
  constructor(sizeBytes: number, inodes?: number) {
    const options = [`size=${sizeBytes}`, "mode=0700", ...(inodes === undefined ? [] : [`nr_inodes=${inodes}`])].join(",");
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", this.path], { stdio: "pipe" });
  }

  /** Returns the free shares of bytes and of inodes, 0 to 1. */
  get freeShares(): { readonly bytes: number; readonly inodes: number } {
    const { blocks, bavail, files, ffree } = statfsSync(this.path);
    return { bytes: bavail / blocks, inodes: ffree / files };
  }

  /** Returns used bytes as reported by `df`. */
  get usedBytes(): number {
    const { blocks, bfree, bsize } = statfsSync(this.path);
    return (blocks - bfree) * bsize;
  }

  /** Simulates another program that takes all free space. */
  fillUp(): void {
    const chunk = Buffer.alloc(1 << 20);
    for (let chunkBytes = chunk.length; chunkBytes >= 4096; ) {
      try {
        appendFileSync(this.#foreign, chunk.subarray(0, chunkBytes));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        chunkBytes >>= 1;
      }
    }
  }

  /** Releases the space of the other program. */
  clearUp(): void {
    rmSync(this.#foreign, { force: true });
  }

  [Symbol.dispose](): void {
    execFileSync("umount", ["-l", this.path], { stdio: "pipe" });
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Returns whether this process may mount file systems. */
export function mayMount(): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  try {
    using _ = new SmallDisk(1 << 20);
    return true;
  } catch {
    return false;
  }
}
