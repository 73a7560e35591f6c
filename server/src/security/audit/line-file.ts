import { appendFile } from "node:fs/promises";

/** Bytes that wait for a slow disk. Further lines are dropped, because requests do not wait for them. */
const MAX_WAITING_BYTES = 4 << 20;

/** A file of lines. It is opened for each piece, so it may be renamed or removed at any time. */
export class LineFile {
  readonly #path: string;
  readonly #onFailed: (error: Error, droppedLines: number) => void;
  #lines: string[] = [];
  #bytes = 0;
  #dropped = 0;
  #writing: Promise<void> | undefined;

  /** `onFailed` is called for each piece that could not be written. */
  constructor(path: string, onFailed: (error: Error, droppedLines: number) => void) {
    this.#path = path;
    this.#onFailed = onFailed;
  }

  /** Writes a line of JSON. */
  readonly write = (fields: Readonly<Record<string, unknown>>): void => {
    if (this.#bytes > MAX_WAITING_BYTES) this.#dropped++;
    else this.writeText(JSON.stringify(fields));
  };

  /** Writes a line of text, which has no line breaks. */
  readonly writeText = (text: string): void => {
    if (this.#bytes > MAX_WAITING_BYTES) {
      this.#dropped++;
      return;
    }
    const line = `${text}\n`;
    this.#lines.push(line);
    this.#bytes += line.length;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
  };

  /** Resolves when all lines are written, or have failed. */
  async close(): Promise<void> {
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    while (this.#lines.length > 0) {
      const lines = this.#lines;
      this.#lines = [];
      this.#bytes = 0;
      try {
        await appendFile(this.#path, lines.join(""), { mode: 0o600 });
        if (this.#dropped > 0) throw new Error("the disk is too slow");
      } catch (error) {
        const dropped = this.#dropped + (this.#dropped > 0 ? 0 : lines.length);
        this.#dropped = 0;
        this.#onFailed(error as Error, dropped);
      }
    }
  }
}
