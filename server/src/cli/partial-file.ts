import { open as openFile, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import type { Readable } from "node:stream";

/** The bytes that a file will contain. */
export interface FileContent {
  readonly url: string;
  readonly version: string;
  /** First byte, in the object. */
  readonly offset: number;
  /** One past the last byte. */
  readonly end: number;
}

/**
 * A file that appears only when it is complete. Until then its bytes are in `<path>.part`, and `<path>.part.json` describes them.
 * A download resumes only with the same range of the same version.
 */
export class PartialFile {
  readonly #path: string;
  readonly content: FileContent;

  readonly partPath: string;
  readonly #descriptionPath: string;
  #bytes = 0;

  private constructor(path: string, content: FileContent) {
    this.#path = path;
    this.content = content;
    this.partPath = `${path}.part`;
    this.#descriptionPath = `${path}.part.json`;
  }

  /** Opens the incomplete file of an earlier download of the same content. Without one, or with `resume` false, starts empty. */
  static async open(path: string, content: FileContent, resume: boolean): Promise<PartialFile> {
    const file = new PartialFile(path, content);
    file.#bytes = resume ? await file.#resumableBytes() : 0;
    if (file.#bytes > 0) return file;
    // In this order, so that a description never belongs to other bytes.
    await rm(file.partPath, { force: true });
    await writeFile(file.#descriptionPath, JSON.stringify(content));
    return file;
  }

  /** Bytes received so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Appends a stream that starts after the bytes received so far. Rejects with its error or the system's; bytes received before
   * the error are in the file.
   */
  async append(open: () => Readable, onBytes: (bytes: number) => void): Promise<void> {
    const handle = await openFile(this.partPath, "a");
    try {
      // Iterated right after it is opened, because an error may come before the first byte.
      for await (const chunk of open() as AsyncIterable<Buffer>) {
        await handle.appendFile(chunk);
        this.#bytes += chunk.length;
        onBytes(chunk.length);
      }
    } finally {
      await handle.close();
    }
  }

  /** Moves the complete file to its path. */
  async finish(): Promise<void> {
    await rename(this.partPath, this.#path);
    await rm(this.#descriptionPath, { force: true });
  }

  async remove(): Promise<void> {
    await Promise.all([this.partPath, this.#descriptionPath].map((path) => rm(path, { force: true })));
  }

  async #resumableBytes(): Promise<number> {
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
