import { CacheError, type MemberInfo, type ValueAnswer, type ValueCall, type ValueEntry } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { ValueService } from "./value-service.js";
import type { Completion, ConflictReason } from "./values.js";
import { ValueConflict } from "./values.js";

/** Bytes that one call to another member carries: members take requests of at most 256 KiB. */
export const WRITE_PIECE_BYTES = 224 << 10;
/** Calls with bytes of one value that run at a time. */
const MOST_RUNNING = 4;
/** A writer repeats a sign of life as often. */
const ALIVE_MS = 3_000;

interface Answered {
  readonly member: MemberInfo;
  readonly answer: ValueAnswer;
}

export interface ValueWriterOptions {
  readonly service: ValueService;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly entry: ValueEntry;
  /** The members that shall keep the value. */
  readonly holders: readonly MemberInfo[];
  /** The size is that of the entry. */
  readonly isSized: boolean;
  readonly isUpload: boolean;
  readonly isExclusive: boolean;
  readonly whileWritten: "refuse" | "wait" | undefined;
}

/** A member knows a larger version than that of a write. */
export class OlderVersion extends CacheError {
  readonly largest: string;

  constructor(url: string, largest: string) {
    super("FAILED_PRECONDITION", `${url}: a newer version exists`);
    this.largest = largest;
  }
}

/** Writes one version of a value to the members that keep it. A member that fails is left out, unless all do. */
export class ValueWriter {
  readonly #options: ValueWriterOptions;
  #targets: readonly MemberInfo[];
  readonly #failed: MemberInfo[] = [];
  #failure: CacheError | undefined;
  #cancelTimer: () => void = () => {};

  constructor(options: ValueWriterOptions) {
    this.#options = options;
    this.#targets = options.holders;
  }

  /** Members that have the value, after `commit`. */
  get written(): readonly MemberInfo[] {
    return this.#targets;
  }

  /** Members that could not take it. */
  get failed(): readonly MemberInfo[] {
    return this.#failed;
  }

  /** Begins at all members. With `data`, that is all. Rejects with ValueConflict or OlderVersion if a member refuses; it is begun nowhere then. */
  async begin(data?: Uint8Array): Promise<void> {
    const { entry, isSized, isUpload, isExclusive, whileWritten } = this.#options;
    const begin: NonNullable<ValueCall["begin"]> = {
      entry,
      upload: isUpload,
      sized: isSized,
      whileWritten: whileWritten ?? "",
      exclusive: isExclusive,
      whole: data !== undefined,
      data: Buffer.from(data ?? []),
    };
    const answers: Answered[] = [];
    const take = (answer: Answered): void => void answers.push(answer);
    const isRefused = ({ answer }: Answered): boolean => answer.conflict !== "";
    // In the order of the ring, one after the other: two writers never wait for each other, and the first member decides.
    if (whileWritten !== undefined || isExclusive) {
      for (const member of [...this.#targets]) {
        await this.#onAll({ begin }, take, [member]);
        if (answers.some(isRefused)) break;
      }
    } else await this.#onAll({ begin }, take);
    const refused = answers.find(isRefused)?.answer;
    if (refused === undefined) {
      if (data === undefined && !isUpload) this.#keepAlive();
      return;
    }
    this.#targets = answers.filter((answer) => !isRefused(answer)).map(({ member }) => member);
    await this.abandon();
    if (refused.conflict === "older") throw new OlderVersion(entry.url, refused.largest);
    throw conflictOf(entry.url, refused.conflict as ConflictReason);
  }

  /** Sends a body. Resolves with its size. */
  async send(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<number> {
    const { entry, isSized } = this.#options;
    let buffer = Buffer.allocUnsafe(WRITE_PIECE_BYTES);
    let [used, sent] = [0, 0];
    const running = new Set<Promise<void>>();
    const flush = async (): Promise<void> => {
      while (running.size >= MOST_RUNNING) await Promise.race(running);
      const [data, offset] = [buffer.subarray(0, used), sent];
      sent += used;
      buffer = Buffer.allocUnsafe(WRITE_PIECE_BYTES);
      used = 0;
      const write = this.write(offset, data).finally(() => running.delete(write));
      write.catch(() => {});
      running.add(write);
    };
    for await (const piece of body) {
      this.#options.signal.throwIfAborted();
      if (isSized && sent + used + piece.length > entry.size) throw wrongSize(entry, sent + used + piece.length);
      for (let at = 0; at < piece.length; ) {
        const taken = Math.min(piece.length - at, buffer.length - used);
        buffer.set(piece.subarray(at, at + taken), used);
        used += taken;
        at += taken;
        if (used === buffer.length) await flush();
      }
      // Readers may follow the value: what has arrived does not wait for more, unless more is on its way anyhow.
      if (used > 0 && running.size === 0) await flush();
      if (this.#targets.length === 0) throw this.#failure!;
    }
    if (used > 0) await flush();
    while (running.size > 0) await Promise.all(running);
    this.#options.signal.throwIfAborted();
    if (isSized && sent !== entry.size) throw wrongSize(entry, sent);
    return sent;
  }

  /** Writes bytes at an offset to all members. Rejects if none has them. */
  async write(offset: number, data: Uint8Array): Promise<void> {
    const { url, version } = this.#options.entry;
    const write = { url, version, offset, data: Buffer.from(data.buffer, data.byteOffset, data.length) };
    await this.#onAll({ write }, () => {});
  }

  /** Completes the value. Rejects with ValueConflict if another writer was faster, and the value must not exist. */
  async commit(size: number): Promise<void> {
    this.#cancelTimer();
    const { url, version } = this.#options.entry;
    const commit = { url, version, size, expires: false, expiresMs: 0, upload: false };
    const take = ({ member, answer: { conflict } }: Answered): void => {
      if (conflict === "") return;
      this.#failure = conflictOf(url, conflict as ConflictReason);
      this.#leaveOut(member);
    };
    if (!this.#options.isExclusive) await this.#onAll({ commit }, take);
    else {
      const [first, ...others] = this.#targets;
      await this.#onAll({ commit }, take, [first!]);
      if (this.#failure instanceof ValueConflict) throw this.#failure;
      await this.#onAll({ commit }, take, others);
    }
    if (this.#targets.length === 0) throw this.#failure!;
  }

  /** Ends the write without a value. Never rejects. */
  async abandon(): Promise<void> {
    this.#cancelTimer();
    const { service, entry, isUpload } = this.#options;
    const abandon = { url: entry.url, version: isUpload ? "" : entry.version };
    const { signal } = new AbortController();
    await Promise.all(this.#targets.map((member) => service.ask(member, { abandon }, signal).catch(() => {})));
  }

  async #onAll(
    step: Partial<ValueCall>,
    onAnswer: (answered: Answered) => void,
    members: readonly MemberInfo[] = this.#targets,
  ): Promise<void> {
    const { service, signal } = this.#options;
    await Promise.all(
      members.map(async (member) => {
        try {
          onAnswer({ member, answer: await service.ask(member, step, signal) });
        } catch (error) {
          signal.throwIfAborted();
          this.#failure = CacheError.from(error);
          // Every member would say so.
          if (this.#failure.code === "INVALID_ARGUMENT") throw error;
          this.#leaveOut(member);
        }
      }),
    );
    if (this.#targets.length === 0) throw this.#failure!;
  }

  #leaveOut(member: MemberInfo): void {
    this.#failed.push(member);
    this.#targets = this.#targets.filter(({ name }) => name !== member.name);
  }

  #keepAlive(): void {
    this.#cancelTimer = this.#options.clock.after(ALIVE_MS, () => {
      this.write(0, new Uint8Array()).then(
        () => this.#keepAlive(),
        () => {},
      );
    });
  }
}

export function conflictOf(url: string, reason: ConflictReason, completion?: Completion): ValueConflict {
  const messages = {
    already_started: `${url} is being written by another client: wait, or try again later`,
    exists: `${url} exists`,
    incomplete: `${url}: bytes of the upload are missing`,
    locked: `${url} is locked by a client: wait until the lock has ended`,
    finalizing: `${url}: the upload is being finalized`,
  } as const satisfies Record<ConflictReason, string>;
  return new ValueConflict(reason, messages[reason], completion);
}

/** The error of a body of another length than was announced. */
export function wrongSize({ url, size }: Pick<ValueEntry, "url" | "size">, sent: number): CacheError {
  const message = `${url}: the body has ${sent > size ? "more" : "fewer"} than the ${size} bytes announced`;
  return new CacheError("INVALID_ARGUMENT", message, { s3Code: "IncompleteBody" });
}

/** Cuts bytes into pieces that one call carries. */
export function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += WRITE_PIECE_BYTES) yield bytes.subarray(at, at + WRITE_PIECE_BYTES);
}
