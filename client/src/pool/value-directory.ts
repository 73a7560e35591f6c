import { join } from "node:path";
import { CacheError } from "@frontcache/proto";
import { type PoolDisk, systemCode } from "./pool-disk.js";
import { headOf, valueIn } from "./value-file.js";

/** The name of a value's file: a UUID in lower case without hyphens, after a folder of its first two digits. */
const KEY = /^[0-9a-f]{32}$/;
const FOLDER = /^[0-9a-f]{2}$/;

/** Files that a directory of values may contain beside them. */
export interface DirectoryOptions {
  /** Names at the top of the directory that belong to somebody else. All other names than frontcache's are refused. */
  readonly ignore?: readonly string[] | undefined;
}

/** A directory of encoded values, one file each, in 256 folders. Files are created and removed, never changed. */
export class ValueDirectory {
  readonly path: string;
  readonly #disk: PoolDisk;
  /** What was linked since the last `sync`, each time with another number. */
  readonly #unsynced = new Map<string, number>();
  #links = 0;

  constructor(path: string, disk: PoolDisk) {
    this.path = path;
    this.#disk = disk;
  }

  /** Creates the directory if it is missing, and returns the keys of its values. PERMISSION_DENIED, FAILED_PRECONDITION. */
  async keys({ ignore = [] }: DirectoryOptions = {}): Promise<string[]> {
    const keys: string[] = [];
    try {
      await this.#disk.createDirectory(this.path);
      for (const folder of await this.#disk.list(this.path)) {
        if (ignore.includes(folder)) continue;
        if (!FOLDER.test(folder)) throw this.#foreign(folder);
        for (const name of await this.#disk.list(join(this.path, folder))) {
          if (!KEY.test(name) || !name.startsWith(folder)) throw this.#foreign(join(folder, name));
          keys.push(name);
        }
      }
    } catch (error) {
      if (error instanceof CacheError) throw error;
      const message = `${this.path} can't be used as a directory of values (${systemCode(error)}): it must be a writable directory`;
      throw new CacheError("PERMISSION_DENIED", message, { cause: error });
    }
    return keys;
  }

  /** Writes the file of a new value. RESOURCE_EXHAUSTED, UNAVAILABLE. */
  async create(key: string, value: Uint8Array): Promise<void> {
    try {
      await this.#inFolder(key, () => this.#disk.create(this.#file(key), [headOf(value), value]));
    } catch (error) {
      // What was written of it goes at once if possible, otherwise before the next attempt.
      await this.#disk.remove(this.#file(key)).catch(() => undefined);
      throw this.#failed("written", key, error);
    }
  }

  /** Returns the encoded value. NOT_FOUND if its file is missing or not as it was written. */
  async read(key: string): Promise<Buffer> {
    let file: Buffer;
    try {
      file = await this.#disk.read(this.#file(key));
    } catch (error) {
      throw this.#failed("read", key, error);
    }
    const value = valueIn(file);
    if (value !== undefined) return value;
    throw new CacheError("NOT_FOUND", `${this.#file(key)}: the file was changed by somebody else: create the value again`);
  }

  /** Links a value of another directory of the same file system. Returns false if that one does not have it. */
  async linkFrom(other: ValueDirectory, key: string): Promise<boolean> {
    try {
      await this.#inFolder(key, () => this.#disk.link(other.#file(key), this.#file(key)));
    } catch (error) {
      if (systemCode(error) === "ENOENT") return false;
      if (systemCode(error) !== "EEXIST") throw this.#failed("linked", key, error);
    }
    // Also if it existed: perhaps another process linked it, and did not sync.
    this.#unsynced.set(key, ++this.#links);
    return true;
  }

  /** Removes a value's file. A missing one is fine. */
  async remove(key: string): Promise<void> {
    this.#unsynced.delete(key);
    try {
      await this.#disk.remove(this.#file(key));
    } catch (error) {
      throw this.#failed("removed", key, error);
    }
  }

  /** Waits until all values that were linked here survive a loss of power. */
  async sync(): Promise<void> {
    const linked = [...this.#unsynced];
    const folders = new Set(linked.map(([key]) => folderOf(key)));
    try {
      for (const [key, link] of linked) await this.#syncFile(key, link);
      for (const folder of folders) await this.#disk.sync(join(this.path, folder));
      await this.#disk.sync(this.path);
    } catch (error) {
      throw this.#failed("synced", linked[0]?.[0] ?? "", error);
    }
    for (const [key, link] of linked) if (this.#unsynced.get(key) === link) this.#unsynced.delete(key);
  }

  async #syncFile(key: string, link: number): Promise<void> {
    try {
      await this.#disk.sync(this.#file(key));
    } catch (error) {
      const wasRemoved = this.#unsynced.get(key) !== link;
      if (!wasRemoved) throw error;
    }
  }

  #file(key: string): string {
    return join(this.path, folderOf(key), key);
  }

  /** Runs an operation on a key's file; if the folder is missing, creates it and tries once more. */
  async #inFolder(key: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (systemCode(error) !== "ENOENT") throw error;
      await this.#disk.createDirectory(join(this.path, folderOf(key)));
      await work();
    }
  }

  #foreign(name: string): CacheError {
    const message = `${this.path} contains ${name}, which is not a value of a pool: choose a directory of its own, or ignore the name`;
    return new CacheError("FAILED_PRECONDITION", message);
  }

  #failed(what: string, key: string, error: unknown): CacheError {
    const code = systemCode(error);
    const subject = `${this.#file(key)} can't be ${what} (${code || "unexpected failure"})`;
    if (code === "ENOENT")
      return new CacheError("NOT_FOUND", `${subject}: somebody else removed it: create the value again`, { cause: error });
    if (code === "EXDEV") {
      const message = `${subject}: a pool's directory and those of persisted values must be of one file system`;
      return new CacheError("FAILED_PRECONDITION", message, { cause: error });
    }
    if (code === "ENOSPC" || code === "EDQUOT") {
      const message = `${subject}: free space, or dispose of values`;
      return new CacheError("RESOURCE_EXHAUSTED", message, { cause: error });
    }
    return new CacheError("UNAVAILABLE", `${subject}: check the disk`, { cause: error });
  }
}

function folderOf(key: string): string {
  return key.slice(0, 2);
}
