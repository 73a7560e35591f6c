import { join } from "node:path";
import { ValueEntry } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import type { Disk, DiskFile } from "../storage/disk/disk.js";

/** An entry, and the version that its blocks are stored under. */
export interface JournalRecord {
  readonly entry: ValueEntry;
  readonly stored: string;
  /** Its blocks were here, and were evicted. */
  readonly isEvicted: boolean;
}

/** What a journal says of the process that wrote it. */
export interface JournalContent {
  readonly records: ReadonlyMap<string, JournalRecord>;
  /** Wall time at which that process was alive; 0: unknown. */
  readonly aliveMs: number;
}

/** A new file is begun when this one is that many times as large as the records that count, and has more bytes than that. */
const GROWTH = 3;
const LEAST_BYTES = 4 << 20;
/** Records of one write at a new beginning. */
const BATCH = 1_000;
const NAME = /^journal\.(\d{1,15})$/;

type Line =
  | { readonly e: string; readonly s: string; readonly v?: 1 }
  | { readonly a: number }
  | { readonly whole: true }
  | { readonly f: string };

/**
 * The entries of a member's values on its disk: lines of JSON, appended. Survives the death of the process at any moment. A new file
 * replaces the old one when it has all of its records: a line says so.
 */
export class Journal {
  readonly #options: JournalOptions;
  #file: DiskFile | undefined;
  #path = "";
  #number = 0;
  #position = 0;
  #liveBytes = 0;
  #waiting: { readonly text: string; readonly settle: (error?: unknown) => void }[] = [];
  #writing: Promise<void> | undefined;
  #isBroken = false;
  #closed = false;

  private constructor(options: JournalOptions) {
    this.#options = options;
  }

  /** Reads the newest whole journal of a directory. Never rejects: a journal that cannot be read counts as empty. */
  static async open(options: JournalOptions): Promise<{ readonly journal: Journal; readonly content: JournalContent }> {
    const journal = new Journal(options);
    try {
      const content = await journal.#recover();
      return { journal, content };
    } catch (error) {
      journal.#failed(error);
      return { journal, content: { records: new Map(), aliveMs: 0 } };
    }
  }

  /** Resolves when the process may die without the loss of the record. Rejects with the system's error. */
  append(record: JournalRecord): Promise<void> {
    return this.#append(lineOf(record));
  }

  /** Removes the record of a URL. */
  forget(url: string): void {
    void this.#append({ f: url }).catch(() => {});
  }

  /** Records that the process is alive. */
  alive(): void {
    void this.#append({ a: this.#options.clock.nowMs() }).catch(() => {});
  }

  async close(): Promise<void> {
    this.alive();
    await this.#writing;
    this.#closed = true;
    await this.#file?.close().catch(() => {});
  }

  #append(line: Line): Promise<void> {
    if (this.#closed) return Promise.reject(new Error("the journal is closed"));
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown): void => (error === undefined ? resolve() : reject(error as Error));
      this.#waiting.push({ text: `${JSON.stringify(line)}\n`, settle });
      this.#writing ??= this.#write().finally(() => {
        this.#writing = undefined;
      });
    });
  }

  /** Writes what waits, all lines of a turn at once. */
  async #write(): Promise<void> {
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const lines = this.#waiting.splice(0);
      try {
        if (this.#file === undefined || this.#isDue) await this.#begin();
        const bytes = Buffer.from(lines.map(({ text }) => text).join(""));
        await this.#file!.write([bytes], this.#position);
        this.#position += bytes.length;
        this.#isBroken = false;
        for (const { settle } of lines) settle();
      } catch (error) {
        this.#failed(error);
        for (const { settle } of lines) settle(error);
      }
    }
  }

  get #isDue(): boolean {
    return this.#position > LEAST_BYTES && this.#position > GROWTH * this.#liveBytes;
  }

  /** Begins a new file with all current records. */
  async #begin(): Promise<void> {
    const { disk, directory, clock, current } = this.#options;
    await disk.makeDirectory(directory);
    const [oldFile, oldPath] = [this.#file, this.#path];
    const path = join(directory, `journal.${++this.#number}`);
    const file = await disk.create(path, []);
    try {
      let position = 0;
      const write = async (lines: readonly Line[]): Promise<void> => {
        const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
        await file.write([bytes], position);
        position += bytes.length;
      };
      let batch: Line[] = [];
      for (const record of current()) {
        batch.push(lineOf(record));
        if (batch.length < BATCH) continue;
        await write(batch);
        batch = [];
      }
      await write([...batch, { a: clock.nowMs() }, { whole: true }]);
      [this.#file, this.#path, this.#position, this.#liveBytes] = [file, path, position, position];
    } catch (error) {
      await file.close().catch(() => {});
      await disk.remove(path).catch(() => {});
      throw error;
    }
    await oldFile?.close().catch(() => {});
    if (oldPath !== "") await disk.remove(oldPath).catch(() => {});
  }

  /** Once until a write succeeds again. The next write begins a new file. */
  #failed(error: unknown): void {
    const file = this.#file;
    this.#file = undefined;
    void file?.close().catch(() => {});
    if (this.#isBroken) return;
    this.#isBroken = true;
    const { log, directory } = this.#options;
    const message = "cannot write the journal of values: this member takes no values until its disk can be written again";
    log.error({ event: "value-journal-failed", directory, err: error }, message);
  }

  async #recover(): Promise<JournalContent> {
    const { disk, directory } = this.#options;
    await disk.makeDirectory(directory);
    const numbers = (await disk.list(directory)).flatMap((name) => {
      const match = NAME.exec(name);
      return match === null ? [] : [Number(match[1])];
    });
    numbers.sort((a, b) => b - a);
    this.#number = numbers[0] ?? 0;
    let found: JournalContent | undefined;
    for (const number of numbers) {
      const path = join(directory, `journal.${number}`);
      found ??= await this.#read(path);
      if (found === undefined || this.#path !== "") await disk.remove(path).catch(() => {});
      else this.#path = path;
    }
    return found ?? { records: new Map(), aliveMs: 0 };
  }

  /** Undefined: the process died before the file had all records. */
  async #read(path: string): Promise<JournalContent | undefined> {
    const { disk } = this.#options;
    const file = await disk.open(path, "read");
    const records = new Map<string, JournalRecord>();
    let [aliveMs, isWhole] = [0, false];
    try {
      const { sizeBytes } = await file.stat();
      const bytes = Buffer.alloc(sizeBytes);
      const length = await file.read(bytes, 0);
      for (const text of bytes.toString("utf8", 0, length).split("\n")) {
        const line = parse(text);
        if (line === undefined) continue;
        if ("whole" in line) isWhole = true;
        else if ("a" in line) aliveMs = Math.max(aliveMs, line.a);
        else if ("f" in line) records.delete(line.f);
        else {
          const record = recordOf(line);
          if (record !== undefined) records.set(record.entry.url, record);
        }
      }
    } finally {
      await file.close().catch(() => {});
    }
    return isWhole ? { records, aliveMs } : undefined;
  }
}

export interface JournalOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly clock: Pick<Clock, "nowMs">;
  readonly log: Log;
  /** All records, for a new file. */
  current(): Iterable<JournalRecord>;
}

function lineOf({ entry, stored, isEvicted }: JournalRecord): Line {
  const line = { e: Buffer.from(ValueEntry.encode(entry).finish()).toString("base64"), s: stored };
  return isEvicted ? { ...line, v: 1 } : line;
}

function recordOf({ e, s, v }: { readonly e: string; readonly s: string; readonly v?: 1 }): JournalRecord | undefined {
  try {
    return { entry: ValueEntry.decode(Buffer.from(e, "base64")), stored: s, isEvicted: v === 1 };
  } catch {
    return undefined;
  }
}

/** The line, unless the process died while it wrote it. */
function parse(text: string): Line | undefined {
  try {
    const line: unknown = JSON.parse(text);
    return typeof line === "object" && line !== null ? (line as Line) : undefined;
  } catch {
    return undefined;
  }
}
