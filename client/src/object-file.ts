/** What a file needs of a client. */
interface FileReads {
  readRange(
    url: string,
    offset: number,
    length: number,
    version: string,
    options: { readonly into: Uint8Array },
  ): Promise<Buffer>;
}

/**
 * One version of an object, in the forms by which libraries read files: hyparquet's `AsyncBuffer` (`byteLength`, `slice`), and the part
 * of Node's `FileHandle` that Apache Arrow uses (`stat`, `read`, `close`). It holds nothing open.
 */
export class ObjectFile {
  readonly url: string;
  readonly version: string;
  /** The object's size. */
  readonly byteLength: number;
  /** Not a descriptor of this process: -1. */
  readonly fd = -1;
  readonly #reads: FileReads;

  /** Only clients open files. @internal */
  constructor(reads: FileReads, url: string, version: string, byteLength: number) {
    this.#reads = reads;
    this.url = url;
    this.version = version;
    this.byteLength = byteLength;
  }

  /**
   * Returns the bytes from `start` to before `end`, in memory of their own. Both count from the end if negative, as in
   * `ArrayBuffer.slice`.
   */
  async slice(start = 0, end = this.byteLength): Promise<ArrayBuffer> {
    const from = this.#place(start);
    const memory = new ArrayBuffer(Math.max(0, this.#place(end) - from));
    await this.#fill(new Uint8Array(memory), from);
    return memory;
  }

  /** Reads into a part of `buffer`, as `FileHandle.read` does. */
  async read<Memory extends Uint8Array>(
    buffer: Memory,
    offset = 0,
    length = buffer.byteLength - offset,
    position = 0,
  ): Promise<{ bytesRead: number; buffer: Memory }> {
    const bytesRead = Math.max(0, Math.min(length, this.byteLength - position));
    await this.#fill(buffer.subarray(offset, offset + bytesRead), position);
    return { bytesRead, buffer };
  }

  async stat(): Promise<{ size: number }> {
    return { size: this.byteLength };
  }

  async close(): Promise<void> {}

  async #fill(into: Uint8Array, offset: number): Promise<void> {
    if (into.length > 0) await this.#reads.readRange(this.url, offset, into.length, this.version, { into });
  }

  #place(index: number): number {
    return index < 0 ? Math.max(0, this.byteLength + index) : Math.min(index, this.byteLength);
  }
}
