import { constants } from "node:fs";
import { chmod, mkdir, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { CacheError } from "@frontcache/proto";
import { lockByProcessId } from "@frontcache/proto/runtime";
import type { DirectoryClaim } from "./disk/disk.js";
import { systemCode } from "./disk/disk.js";
import type { Libc } from "./mapping/libc.js";

const LOCK_EXCLUSIVE_NOW = 2 | 4;
const GROUP_AND_OTHERS_WRITE = 0o022;

/**
 * Locks a directory for this process: creates it if it is missing, checks that only this user can write
 * to it, and locks it. The lock is flock(2), which the kernel releases with the process, or, without flock, a file with the
 * process ID. Rejects with a CacheError.
 */
export async function claimDirectory(directory: string, libc: Libc | undefined): Promise<DirectoryClaim> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await checkOwner(directory);
    return libc === undefined ? await lockByFile(directory) : await lockBySystem(directory, libc);
  } catch (error) {
    if (error instanceof CacheError) throw error;
    const message = `${directory} can't be used as a cache directory (${systemCode(error) || "unexpected failure"}): it must be writable`;
    throw new CacheError("PERMISSION_DENIED", message, { cause: error });
  }
}

/** Checks that only this user may write in the directory, because its files determine the bytes that clients read. */
async function checkOwner(directory: string): Promise<void> {
  const blocks = join(directory, "v1");
  await mkdir(blocks, { recursive: true, mode: 0o700 });
  const { uid, mode } = await stat(blocks);
  const own = process.getuid?.();
  if (own !== undefined && uid !== own) {
    throw new CacheError(
      "PERMISSION_DENIED",
      `${blocks} belongs to user ${uid}, not to ${own}: remove it or choose another cache directory`,
    );
  }
  if ((mode & GROUP_AND_OTHERS_WRITE) !== 0) await chmod(blocks, 0o700);
}

async function lockBySystem(directory: string, libc: Libc): Promise<DirectoryClaim> {
  const handle = await open(join(directory, "lock"), constants.O_RDWR | constants.O_CREAT, 0o600);
  if (libc.flock(handle.fd, LOCK_EXCLUSIVE_NOW) !== 0) {
    const holder = (await handle.readFile("utf8")).trim();
    await handle.close();
    throw inUse(directory, holder);
  }
  await handle.truncate();
  await handle.write(`${process.pid}\n`, 0);
  return releaseOnce(() => handle.close());
}

async function lockByFile(directory: string): Promise<DirectoryClaim> {
  const lock = await lockByProcessId(join(directory, "lock"));
  if ("holder" in lock) throw inUse(directory, lock.holder);
  return releaseOnce(lock.release);
}

function inUse(directory: string, holder: string): CacheError {
  const message = `${directory} is in use by another process (${holder || "unknown"}): stop it or choose another cache directory`;
  return new CacheError("FAILED_PRECONDITION", message);
}

function releaseOnce(release: () => Promise<void>): DirectoryClaim {
  let released: Promise<void> | undefined;
  return {
    release: () => {
      released ??= release();
      return released;
    },
  };
}
