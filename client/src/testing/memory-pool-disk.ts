import type { PoolDisk } from "../pool/pool-disk.js";

interface MemoryFile {
  bytes: Buffer;
  isSynced: boolean;
}

/** A disk in memory with faults. Operations end after a random number of microtasks, so they overtake each other. */
export class MemoryPoolDisk implements PoolDisk {
  readonly #random: () => number;
  readonly #directories: Set<string>;
  /** Hard links are paths of the same file. */
  readonly #files: Map<string, MemoryFile>;
  readonly #folders = new Map<string, Set<string>>();
  /** Whether creation fails with ENOSPC. */
  isFull = false;
  /** Fails every operation with EIO. */
  isBroken = false;
  #isDead = false;

  /** `random` returns numbers in [0, 1). */
  constructor(random: () => number) {
    this.#random = random;
    this.#directories = new Set();
    this.#files = new Map();
  }

  /**
   * The process ends here: nothing that runs on this disk has an effect any more. Returns the disk that the next process finds.
   * `power`: also without what was not synced, of which an arbitrary part remains.
   */
  crash({ power }: { readonly power: boolean }): MemoryPoolDisk {
    const next = new MemoryPoolDisk(this.#random);
    for (const path of this.#directories) next.#directories.add(path);
    for (const [path, file] of this.#files) {
      const isCut = power && !file.isSynced;
      if (isCut) file.bytes = file.bytes.subarray(0, Math.floor(this.#random() * (file.bytes.length + 1)));
      file.isSynced = true;
      next.#put(path, file);
    }
    for (const path of this.#directories) next.#folderOf(path).add(path.slice(path.lastIndexOf("/") + 1));
    this.#isDead = true;
    return next;
  }

  /** Paths of all files below a directory. */
  filesBelow(directory: string): string[] {
    return [...this.#files.keys()].filter((path) => path.startsWith(`${directory}/`));
  }

  /** Somebody else cuts a file. */
  cut(path: string, bytes: number): void {
    const file = this.#files.get(path)!;
    file.bytes = file.bytes.subarray(0, bytes);
  }

  async createDirectory(path: string): Promise<void> {
    await this.#operation();
    const parts = path.split("/");
    for (let length = 2; length <= parts.length; length++) {
      const each = parts.slice(0, length).join("/");
      this.#directories.add(each);
      this.#folderOf(each).add(parts[length - 1]!);
    }
  }

  async list(path: string): Promise<string[]> {
    await this.#operation();
    if (!this.#directories.has(path)) throw failure("ENOENT");
    return [...(this.#folders.get(path) ?? [])];
  }

  async create(path: string, content: readonly Uint8Array[]): Promise<void> {
    await this.#operation();
    this.#checkParent(path);
    if (this.#files.has(path)) throw failure("EEXIST");
    const bytes = Buffer.concat(content);
    const file = { bytes: bytes.subarray(0, Math.floor(this.#random() * bytes.length)), isSynced: false };
    this.#put(path, file);
    if (this.isFull) throw failure("ENOSPC");
    await this.#operation();
    file.bytes = bytes;
  }

  async read(path: string): Promise<Buffer> {
    await this.#operation();
    const file = this.#files.get(path);
    if (file === undefined) throw failure("ENOENT");
    return Buffer.from(file.bytes);
  }

  async link(from: string, to: string): Promise<void> {
    await this.#operation();
    const file = this.#files.get(from);
    if (file === undefined) throw failure("ENOENT");
    this.#checkParent(to);
    if (this.#files.has(to)) throw failure("EEXIST");
    this.#put(to, file);
  }

  async remove(path: string): Promise<void> {
    await this.#operation();
    this.#files.delete(path);
    this.#folderOf(path).delete(path.slice(path.lastIndexOf("/") + 1));
  }

  async sync(path: string): Promise<void> {
    await this.#operation();
    const file = this.#files.get(path);
    if (file !== undefined) file.isSynced = true;
    else if (!this.#directories.has(path)) throw failure("ENOENT");
  }

  #put(path: string, file: MemoryFile): void {
    this.#files.set(path, file);
    this.#folderOf(path).add(path.slice(path.lastIndexOf("/") + 1));
  }

  #folderOf(path: string): Set<string> {
    const parent = path.slice(0, path.lastIndexOf("/"));
    let names = this.#folders.get(parent);
    if (names === undefined) {
      names = new Set();
      this.#folders.set(parent, names);
    }
    return names;
  }

  #checkParent(path: string): void {
    if (!this.#directories.has(path.slice(0, path.lastIndexOf("/")))) throw failure("ENOENT");
  }

  async #operation(): Promise<void> {
    for (let ticks = Math.floor(this.#random() * 6); ticks >= 0; ticks--) await undefined;
    // What a dead process waits for never comes.
    if (this.#isDead) await new Promise(() => undefined);
    if (this.isBroken) throw failure("EIO");
  }
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: a fault of the test`), { code });
}
