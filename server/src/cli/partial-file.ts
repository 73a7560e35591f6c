import { open as openFile, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import type { Readable } from "node:stream";

/** Which bytes a file is to hold. */
export interface FileContent {
  readonly url: string;
  readonly version: string;
  /** First byte, in the object. */
  readonly offset: number;
  /** One past the last byte. */
  readonly end: number;
}

/**
 * A file that is there when all of it is, and not before: it grows beside it as `<path>.part`, and `<path>.part.json` says
 * which bytes these are. Only bytes of the very same version of the same range are gone on with.
 */
export class PartialFile {
  readonly partPath: string;
  readonly #descriptionPath: string;
  #bytes = 0;

  private constructor(
    private readonly path: string,
    readonly content: FileContent,
  ) {
    this.partPath = `${path}.part`;
    this.#descriptionPath = `${path}.part.json`;
  }

  /** Finds what an earlier try left of the same content; with `resume` false, or where it is of another one, begins anew. */
  static async open(path: string, content: FileContent, resume: boolean): Promise<PartialFile> {
    const file = new PartialFile(path, content);
    file.#bytes = resume ? await file.#leftBytes() : 0;
    if (file.#bytes > 0) return file;
    // In this order: no description ever stands beside bytes that it does not fit.
    await rm(file.partPath, { force: true });
    await writeFile(file.#descriptionPath, JSON.stringify(content));
    return file;
  }

  /** Bytes that are there. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Appends a stream, which has to begin behind the bytes that are there. Rejects with its error or the system's; what came
   * before that is in the file.
   */
  async append(open: () => Readable, onBytes: (bytes: number) => void): Promise<void> {
    const handle = await openFile(this.partPath, "a");
    try {
      // Opened and listened to at once: its error may come before its first byte.
      for await (const chunk of open() as AsyncIterable<Buffer>) {
        await handle.appendFile(chunk);
        this.#bytes += chunk.length;
        onBytes(chunk.length);
      }
    } finally {
      await handle.close();
    }
  }

  /** Puts the file in its place. */
  async finish(): Promise<void> {
    await rename(this.partPath, this.path);
    await rm(this.#descriptionPath, { force: true });
  }

  async remove(): Promise<void> {
    await Promise.all([this.partPath, this.#descriptionPath].map((path) => rm(path, { force: true })));
  }

  async #leftBytes(): Promise<number> {
    try {
      const [described, { size }] = await Promise.all([readFile(this.#descriptionPath, "utf8"), stat(this.partPath)]);
      const { url, version, offset, end } = this.content;
      const left = JSON.parse(described) as Partial<FileContent>;
      const same = left.url === url && left.version === version && left.offset === offset && left.end === end;
      return same && size <= end - offset ? size : 0;
    } catch {
      return 0;
    }
  }
}
