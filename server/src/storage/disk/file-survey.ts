import { Worker } from "node:worker_threads";
import type { Disk, DiskFile, DiskStat, FileLook, FileSurvey } from "./disk.js";
import { systemError } from "./disk.js";

type Look = FileLook | NodeJS.ErrnoException;

/** The thread's answer: the bytes and the stat of each file, or an error's code and message. */
interface Answer {
  readonly looks: readonly ({ readonly bytesRead: number; readonly stat: SystemStat } | { code?: string; message: string })[];
  /** One piece per file, all of the requested length. */
  readonly bytes: Uint8Array;
}

/** The same path from the sources and from the build. */
const THREAD = new URL("../../../threads/look-at-files.cjs", import.meta.url);
/** Heap limit of the thread, which needs little memory. */
const MEMORY = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 16 };

/** Surveys file by file through a disk's methods. */
export function surveyByFiles(disk: Pick<Disk, "open">): FileSurvey {
  return {
    async look(paths, position, lengthBytes) {
      const looks: Look[] = [];
      for (const path of paths) looks.push(await lookAt(disk, path, position, lengthBytes));
      return looks;
    },
    close: () => undefined,
  };
}

async function lookAt(disk: Pick<Disk, "open">, path: string, position: number, lengthBytes: number): Promise<Look> {
  let file: DiskFile | undefined;
  try {
    file = await disk.open(path, "read");
    const bytes = Buffer.allocUnsafeSlow(lengthBytes);
    const bytesRead = await file.read(bytes, position);
    return { bytes: bytes.subarray(0, bytesRead), stat: await file.stat() };
  } catch (error) {
    return error as NodeJS.ErrnoException;
  } finally {
    await file?.close().catch(() => undefined);
  }
}

/**
 * Surveys with separate threads, one per running survey: 65,536 files take a third of the time of the thread pool,
 * whose calls cost the main thread two switches each. If no thread can be started, `otherwise` is used.
 */
export class ThreadSurvey implements FileSurvey {
  readonly #otherwise: FileSurvey;

  readonly #threads = new Set<Worker>();
  readonly #idle: Worker[] = [];
  #closed = false;

  constructor(otherwise: FileSurvey) {
    this.#otherwise = otherwise;
  }

  async look(paths: readonly string[], position: number, lengthBytes: number): Promise<Look[]> {
    if (this.#closed) throw closed();
    try {
      const answer = await this.#ask({ paths, position, lengthBytes });
      return answer.looks.map((look, i) => {
        if (!("stat" in look)) return systemError(look.code ?? "EIO", look.message);
        const bytes = Buffer.from(answer.bytes.buffer, i * lengthBytes, look.bytesRead);
        return { bytes, stat: toDiskStat(look.stat) };
      });
    } catch {
      if (this.#closed) throw closed();
      return this.#otherwise.look(paths, position, lengthBytes);
    }
  }

  close(): void {
    this.#closed = true;
    for (const thread of this.#threads) {
      // A thread that hangs in a system call ends with the call; nothing waits for it.
      thread.unref();
      void thread.terminate();
    }
  }

  #ask(message: object): Promise<Answer> {
    const thread = this.#idle.pop() ?? this.#start();
    return new Promise((resolve, reject) => {
      const ended = (error: unknown): void => reject(error instanceof Error ? error : closed());
      thread.once("error", ended).once("exit", ended);
      thread.once("message", (answer: Answer) => {
        thread.off("error", ended).off("exit", ended);
        this.#idle.push(thread);
        resolve(answer);
      });
      thread.postMessage(message);
    });
  }

  #start(): Worker {
    const thread = new Worker(THREAD, { execArgv: [], resourceLimits: MEMORY });
    this.#threads.add(thread);
    thread.on("error", () => undefined).once("exit", () => this.#threads.delete(thread));
    return thread;
  }
}

function closed(): Error {
  return new Error("the survey is over");
}

/** Returns the fields of the system's stat that the storage needs. */
export interface SystemStat {
  readonly size: number;
  readonly blocks: number;
  readonly mtimeMs: number;
  readonly birthtimeMs: number;
}

/** The unit of `blocks` in stat, bytes. */
const STAT_BLOCK_BYTES = 512;

export function toDiskStat({ size, blocks, mtimeMs, birthtimeMs }: SystemStat): DiskStat {
  return {
    sizeBytes: size,
    allocatedBytes: blocks * STAT_BLOCK_BYTES,
    modifiedMs: Math.round(mtimeMs),
    createdMs: Math.round(birthtimeMs),
  };
}
