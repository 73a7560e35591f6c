import { type NearFile, type NearFiles, systemFiles } from "../near/disk/near-files.js";

/** The files of this machine with faults. */
export class FaultyFiles implements NearFiles {
  /** Changes fail with this code. Undefined: they succeed. */
  failWith: string | undefined;
  /** After this many changes the process is dead: half of that change happens, and nothing afterwards. */
  diesAfter = Number.POSITIVE_INFINITY;
  /** Changes so far. */
  changes = 0;

  get isDead(): boolean {
    return this.changes > this.diesAfter;
  }

  async open(path: string, mode: "create" | "update"): Promise<NearFile> {
    if (mode === "create") this.#change();
    else this.#operation();
    const file = await systemFiles.open(path, mode);
    return {
      read: (target, position) => {
        this.#operation();
        return file.read(target, position);
      },
      write: async (sources, position) => {
        const bytes = Buffer.concat(sources);
        const isFull = this.failWith === "ENOSPC";
        try {
          this.#change();
        } catch (error) {
          const isLast = isFull || this.changes === this.diesAfter + 1;
          if (isLast) await file.write([bytes.subarray(0, bytes.length >> 1)], position);
          throw error;
        }
        await file.write(sources, position);
      },
      empty: async () => {
        this.#change();
        await file.empty();
      },
      close: () => file.close(),
    };
  }

  async createDirectory(path: string): Promise<void> {
    this.#change();
    await systemFiles.createDirectory(path);
  }

  async list(path: string): Promise<string[]> {
    this.#operation();
    return await systemFiles.list(path);
  }

  async remove(path: string): Promise<void> {
    this.#change(true);
    await systemFiles.remove(path);
  }

  async state(path: string): ReturnType<NearFiles["state"]> {
    this.#operation();
    return await systemFiles.state(path);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#change(true);
    await systemFiles.rename(from, to);
  }

  async truncate(path: string, sizeBytes: number): Promise<void> {
    this.#change(true);
    await systemFiles.truncate(path, sizeBytes);
  }

  async setModified(path: string, modifiedMs: number): Promise<void> {
    this.#change();
    await systemFiles.setModified(path, modifiedMs);
  }

  /** `needsNoSpace`: a full disk allows it. */
  #change(needsNoSpace = false): void {
    this.changes++;
    this.#operation();
    if (this.failWith === undefined || (needsNoSpace && this.failWith === "ENOSPC")) return;
    throw Object.assign(new Error(`${this.failWith}: a fault of the test`), { code: this.failWith });
  }

  #operation(): void {
    if (this.isDead) throw Object.assign(new Error("the process is dead"), { code: "EIO" });
  }
}
