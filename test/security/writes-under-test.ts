import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, type GivenFlags, ManualClock, type MemoryCache, silentLog, systemClock } from "@frontcache/server/testing";
import { temporaryDirectory } from "../e2e/member-process.js";
import { ListenersUnderTest } from "./listeners-under-test.js";

type WriteQuestion = MemoryCache["written"][number];
export type WriteAnswer = Awaited<ReturnType<MemoryCache["writeAnswer"]>>;

export interface WritesOptions {
  /** The text of the identities file. */
  readonly identities: string;
  /** The text of the file with the members' keys. Absent: there is none. */
  readonly membersKey?: string;
  readonly flags?: GivenFlags;
  /** How long clients are waited for. Absent: the system's time. */
  readonly listenerClock?: Clock;
  /** What the object store answers with, when it has the whole body. Absent: status 200. */
  readonly answer?: (question: WriteQuestion) => Partial<WriteAnswer>;
}

/** All listeners of a member with an identities file, whose writes end in memory, and the lines of its audit log. */
export class WritesUnderTest implements AsyncDisposable {
  readonly listeners: ListenersUnderTest;
  readonly audited: Record<string, unknown>[];
  readonly #directory: AsyncDisposable;

  private constructor(listeners: ListenersUnderTest, audited: Record<string, unknown>[], directory: AsyncDisposable) {
    this.listeners = listeners;
    this.audited = audited;
    this.#directory = directory;
  }

  static async open({
    identities,
    membersKey,
    flags,
    listenerClock = systemClock,
    answer,
  }: WritesOptions): Promise<WritesUnderTest> {
    const directory = await temporaryDirectory();
    const [identitiesFile, membersKeyFile] = [join(directory.path, "identities.yaml"), join(directory.path, "members-key")];
    writeFileSync(identitiesFile, identities);
    if (membersKey !== undefined) writeFileSync(membersKeyFile, membersKey);
    const audited: Record<string, unknown>[] = [];
    const log = { ...silentLog, always: (fields: object) => void audited.push({ ...fields }) };
    const given = { identitiesFile, writes: "on", ...(membersKey !== undefined && { membersKeyFile }), ...flags };
    // Time stands still, so that signatures do not expire on a slow machine.
    const listeners = await ListenersUnderTest.open(given, new ManualClock(Date.now()), log, listenerClock);
    listeners.cache.writeAnswer = async (question) => {
      if (!(question.body instanceof Uint8Array)) await question.body.whole(1 << 20);
      return { status: 200, headers: [], body: Buffer.alloc(0), ...answer?.(question) };
    };
    return new WritesUnderTest(listeners, audited, directory);
  }

  /** The writes that have reached the cache. */
  get written(): WriteQuestion[] {
    return this.listeners.cache.written;
  }

  /** Forgets the writes, and the lines of the audit log. */
  forget(): void {
    this.audited.length = 0;
    this.written.length = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listeners[Symbol.asyncDispose]();
    await this.#directory[Symbol.asyncDispose]();
  }
}
