import { CacheError, type MemberInfo, type ValueAnswer, type ValueCall, type ValueEntry } from "@frontcache/proto";
import type { Sent } from "./step-sending.js";
import { FRESH_MS } from "./value-copies.js";
import { infoOf } from "./value-entry.js";
import type { Placement, ValueMembers } from "./value-members.js";
import type { ValueService } from "./value-service.js";
import type { ValueInfo } from "./values.js";

export interface HolderCallsOptions {
  readonly members: ValueMembers;
  readonly placement: Placement;
  readonly service: ValueService;
  /** Aborted when the member closes. */
  readonly closing: AbortSignal;
}

/** What has become of a write. */
export interface Outcome {
  /** Members that have the value. */
  readonly written: readonly MemberInfo[];
  /** Members that could not take it. */
  readonly failed: readonly MemberInfo[];
  /** Members that end what they have of the write. */
  readonly behind: readonly MemberInfo[];
  /** The version of what they have of it; empty: it is an upload. */
  readonly draft: string;
}

/** Asks the holders of a value for a step, this member among them. */
export class HolderCalls {
  readonly #options: HolderCallsOptions;
  /** Values written, and those of them that fewer members took than were to. */
  readonly counts = { inserts: 0, underReplicated: 0 };

  constructor(options: HolderCallsOptions) {
    this.#options = options;
  }

  /**
   * Resolves with the answer of the first holder that can be reached; undefined: it has no such value. `isCertain`: no holder has it, each
   * is asked.
   */
  async first(url: string, step: Partial<ValueCall>, signal: AbortSignal, isCertain = false): Promise<ValueAnswer | undefined> {
    const { placement, service } = this.#options;
    let failure: CacheError | undefined;
    let isMissing = false;
    for (const member of placement.holders(url)) {
      try {
        return await service.ask(member, step, signal);
      } catch (error) {
        failure = CacheError.from(error);
        isMissing ||= failure.code === "NOT_FOUND";
        if (isMissing && !isCertain) return undefined;
        if (failure.code !== "NOT_FOUND" && failure.code !== "UNAVAILABLE" && failure.code !== "DEADLINE_EXCEEDED") throw failure;
      }
    }
    signal.throwIfAborted();
    if (isMissing) return undefined;
    throw failure ?? unreachable(url);
  }

  /**
   * Resolves with the answers of all holders that can be reached, at least one. Rejects if none answers. `alsoEarlier`: asks those
   * that were holders by an earlier member list, too.
   */
  async all(url: string, step: Partial<ValueCall>, signal: AbortSignal, alsoEarlier = false): Promise<readonly ValueAnswer[]> {
    const { placement, members: all, service } = this.#options;
    const asked = new Map(placement.holders(url).map((member) => [member.name, member]));
    if (alsoEarlier) for (const member of all.earlier(url)) asked.set(member.name, member);
    const answered: Sent["answered"][number][] = [];
    const failed: Sent["failed"][number][] = [];
    await Promise.all(
      [...asked.values()].map(async (member) => {
        try {
          answered.push({ member, answer: await service.ask(member, step, signal) });
        } catch (error) {
          failed.push({ member, error: CacheError.from(error) });
        }
      }),
    );
    signal.throwIfAborted();
    return this.atLeastOne(url, answered, failed);
  }

  /**
   * Asks holders in the order of the ring, one after the other, so that of two requests at a time the first member decides. If no
   * member has taken the step yet, `isRefused` ends it.
   */
  async inOrder(
    holders: readonly MemberInfo[],
    step: Partial<ValueCall>,
    signal: AbortSignal,
    isRefused: (answer: ValueAnswer) => boolean,
  ): Promise<Sent> {
    const { service } = this.#options;
    const answered: Sent["answered"][number][] = [];
    const failed: Sent["failed"][number][] = [];
    for (const member of holders) {
      try {
        const answer = await service.ask(member, step, signal);
        answered.push({ member, answer });
        if (isRefused(answer) && answered.every((each) => each.answer.conflict !== "")) break;
      } catch (error) {
        failed.push({ member, error: CacheError.from(error) });
      }
    }
    signal.throwIfAborted();
    return { answered, failed };
  }

  /** Returns the answers of members. Throws why there are none. */
  atLeastOne(url: string, answered: Sent["answered"], failed: Sent["failed"]): readonly ValueAnswer[] {
    if (answered.length > 0) return answered.map(({ answer }) => answer);
    const errors = failed.map(({ error }) => error);
    throw errors.find(({ code }) => code !== "UNAVAILABLE") ?? errors[0] ?? unreachable(url);
  }

  /**
   * Reports a value that was written. Members that could not take it are informed that theirs is older, this member among them: otherwise
   * they would say that the value is missing.
   */
  async written(entry: ValueEntry, { written, failed, behind, draft }: Outcome): Promise<ValueInfo> {
    const { members, placement, service, closing } = this.#options;
    const { url } = entry;
    this.counts.inserts++;
    if (written.length < placement.copies) this.counts.underReplicated++;
    const isWritten = ({ name }: MemberInfo): boolean => written.some((member) => member.name === name);
    const outdated = [...failed, ...members.earlier(url).filter((member) => !isWritten(member))];
    const offer = { entries: [{ ...entry, present: false }], client: false, hash: members.hash };
    const inform = async (member: MemberInfo, step: Partial<ValueCall>): Promise<void> => {
      const answered = service.ask(member, step, closing, NOTICE_TIMEOUT_MS).catch(() => {});
      // This member knows at once. Its disk may have failed, and may not answer.
      if (!placement.isSelf(member)) await answered;
    };
    const abandon = { url, version: draft };
    await Promise.all([
      ...behind.map((member) => inform(member, { abandon })),
      ...outdated.map((member) => inform(member, { offer })),
    ]);
    const info = infoOf(entry);
    service.report({ event: "ready", url, info });
    return info;
  }
}

/** A member that failed is informed of the newer version in this time. Afterwards it knows by itself that its knowledge is old. */
const NOTICE_TIMEOUT_MS = FRESH_MS;

function unreachable(url: string): CacheError {
  return new CacheError("UNAVAILABLE", `${url}: no member that keeps it can be reached`);
}
