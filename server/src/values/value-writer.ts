import { CacheError, type MemberInfo, type ValueAnswer, type ValueCall, type ValueEntry } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import { watched } from "./body-tee.js";
import { sendToAll } from "./step-sending.js";
import type { StepBytes } from "./value-members.js";
import type { ValueService } from "./value-service.js";
import type { Completion, ConflictReason } from "./values.js";
import { ValueConflict } from "./values.js";
import { wrongSize } from "./write-memory.js";

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
  /** Rejects if a member has no space, instead of leaving it out. */
  readonly isStrict: boolean;
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
      members: isUpload ? this.#targets.map(({ name }) => name) : [],
      data: NO_BYTES,
    };
    const answers: Answered[] = [];
    const take = (answer: Answered): void => void answers.push(answer);
    const isRefused = ({ answer }: Answered): boolean => answer.conflict !== "";
    // In the order of the ring, one after the other: two writers never wait for each other, and the first member decides.
    try {
      if (whileWritten !== undefined || isExclusive) {
        for (const member of [...this.#targets]) {
          await this.#onAll({ begin }, take, [member], data);
          if (answers.some(isRefused)) break;
        }
      } else await this.#onAll({ begin }, take, this.#targets, data);
    } catch (error) {
      if (!this.#isDecisive(CacheError.from(error))) throw error;
      this.#targets = answers.filter((answer) => !isRefused(answer)).map(({ member }) => member);
      await this.abandon();
      throw error;
    }
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

  /** Sends a body. Resolves with its size. Rejects if no member has all bytes. */
  async send(body: StepBytes): Promise<number> {
    const { service, clock, signal, entry, isSized } = this.#options;
    const { url, version } = entry;
    let sent = 0;
    const onPiece = (piece: Uint8Array): void => {
      signal.throwIfAborted();
      sent += piece.length;
      if (isSized && sent > entry.size) throw wrongSize(entry, sent);
    };
    const onEnd = (): void => {
      if (isSized && sent !== entry.size) throw wrongSize(entry, sent);
    };
    const bytes = body instanceof Uint8Array ? body : watched(body, onPiece, onEnd);
    if (body instanceof Uint8Array) sent = body.length;
    const write = { url, version, offset: 0, data: NO_BYTES };
    const { failed } = await sendToAll(this.#targets, { write }, bytes, { service, clock, signal });
    for (const { member, error } of failed) {
      if (this.#isDecisive(error)) throw error;
      this.#failure = error;
      this.#leaveOut(member);
    }
    if (this.#targets.length === 0) throw this.#failure!;
    return sent;
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
    bytes?: Uint8Array,
  ): Promise<void> {
    const { service, signal, clock } = this.#options;
    if (bytes !== undefined) {
      const { answered, failed } = await sendToAll(members, step, bytes, { service, clock, signal });
      for (const each of answered) onAnswer(each);
      for (const { member, error } of failed) this.#failedAt(member, error);
    } else {
      const asked = await Promise.allSettled(members.map((member) => this.#on(member, step, onAnswer)));
      for (const each of asked) if (each.status === "rejected") throw each.reason;
    }
    if (this.#targets.length === 0) throw this.#failure!;
  }

  async #on(member: MemberInfo, step: Partial<ValueCall>, onAnswer: (answered: Answered) => void): Promise<void> {
    const { service, signal } = this.#options;
    try {
      onAnswer({ member, answer: await service.ask(member, step, signal) });
    } catch (error) {
      signal.throwIfAborted();
      this.#failedAt(member, CacheError.from(error));
    }
  }

  /** Leaves a member out. Throws what every member would answer. */
  #failedAt(member: MemberInfo, error: CacheError): void {
    this.#failure = error;
    if (error.code === "INVALID_ARGUMENT" || this.#isDecisive(error)) throw error;
    this.#leaveOut(member);
  }

  /** Whether a member without space decides for all. */
  #isDecisive({ code }: CacheError): boolean {
    return this.#options.isStrict && code === "RESOURCE_EXHAUSTED";
  }

  #leaveOut(member: MemberInfo): void {
    this.#failed.push(member);
    this.#targets = this.#targets.filter(({ name }) => name !== member.name);
  }

  #keepAlive(): void {
    this.#cancelTimer = this.#options.clock.after(ALIVE_MS, () => {
      const { url, version } = this.#options.entry;
      this.#onAll({ write: { url, version, offset: 0, data: NO_BYTES } }, () => {}).then(
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

const NO_BYTES = Buffer.alloc(0);
