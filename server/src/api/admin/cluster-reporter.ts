import type { MemberInfo, Membership } from "@frontcache/proto";
import { forEachConcurrent } from "@frontcache/proto/runtime";
import type { Clock } from "../../runtime/clock.js";
import type { ClusterReport, ListedMember, MemberReport } from "./member-report.js";

/** Gets another member's report; rejects with the reason why there is none, one line. */
export type AskMember = (member: MemberInfo) => Promise<MemberReport>;

export interface ClusterReporterOptions {
  /** Undefined while the member starts. */
  readonly list: () => Membership | undefined;
  /** This member's own report, made anew. */
  readonly own: () => MemberReport;
  readonly ask: AskMember;
  readonly clock: Clock;
}

/** Members asked at a time. */
const PARALLELISM = 16;

/**
 * How long a report takes at most. Each silent member takes the second that it is waited for, and dozens may have vanished at
 * once: whoever looks at the report then wants to see that, soon.
 */
const REPORT_MS = 3_000;

/** A report serves everybody who asks for one within so long, so that watchers don't multiply the questions. */
const FRESH_MS = 500;

/** Of a member that the report could not wait for. */
const LATE = `no answer within the ${REPORT_MS / 1_000} s that the whole report may take`;

type Told = Pick<ListedMember, "report" | "problem">;

/**
 * Tells of the cluster as one member sees it, by asking the others. Who was silent is asked last the next time, so that within
 * a few reports all who answer are in each of them, however many are silent.
 */
export class ClusterReporter {
  #last: Promise<ClusterReport> | undefined;
  /** Until when the last report serves (monotonic); while it is made, however long that takes. */
  #freshUntilMs = Number.POSITIVE_INFINITY;
  /** Names of listed members that did not answer when they were asked last; whose turn is longest ago comes first. */
  readonly #silent = new Set<string>();

  constructor(private readonly options: ClusterReporterOptions) {}

  /** The cluster now, or at most half a second ago. Who does not answer is listed with the reason. */
  report(): Promise<ClusterReport> {
    const { clock } = this.options;
    if (this.#last !== undefined && clock.monotonicMs() < this.#freshUntilMs) return this.#last;
    this.#freshUntilMs = Number.POSITIVE_INFINITY;
    this.#last = this.#gather().finally(() => {
      this.#freshUntilMs = clock.monotonicMs() + FRESH_MS;
    });
    return this.#last;
  }

  async #gather(): Promise<ClusterReport> {
    const { list, own, clock } = this.options;
    const membership = list();
    const self = own();
    const shares = membership?.ringShares();
    const members = (membership?.members ?? []).map((member) => ({ ...member, ringShare: shares?.get(member.name) ?? 0 }));
    const told = new Map<string, Told>([[self.name, { report: self }]]);
    const others = members.filter(({ name }) => name !== self.name);
    await this.#askAll(this.#inOrder(others), told);
    return {
      atMs: clock.nowMs(),
      member: self.name,
      listHash: membership?.hash ?? "",
      members: members.map((member) => ({ ...member, ...(told.get(member.name) ?? { problem: LATE }) })),
    };
  }

  /** Those first of whom an answer can be expected. Forgets members that are listed no more. */
  #inOrder(members: readonly MemberInfo[]): MemberInfo[] {
    const byName = new Map(members.map((member) => [member.name, member]));
    for (const name of this.#silent) if (!byName.has(name)) this.#silent.delete(name);
    return [...members.filter(({ name }) => !this.#silent.has(name)), ...[...this.#silent].map((name) => byName.get(name)!)];
  }

  /** Resolves when all have answered, or when a report's time is over: what answers later is not waited for. */
  async #askAll(members: readonly MemberInfo[], told: Map<string, Told>): Promise<void> {
    let cancel = (): void => {};
    let over = false;
    const deadline = new Promise<void>((resolve) => {
      cancel = this.options.clock.after(REPORT_MS, () => {
        over = true;
        resolve();
      });
    });
    const asked = forEachConcurrent(members, PARALLELISM, async (member) => {
      if (!over) told.set(member.name, await this.#ask(member));
    });
    await Promise.race([asked, deadline]).finally(cancel);
  }

  async #ask(member: MemberInfo): Promise<Told> {
    // Silent until it has answered: the report may be over before, and the next one then begins with the others.
    this.#silent.delete(member.name);
    this.#silent.add(member.name);
    try {
      const report = await this.options.ask(member);
      this.#silent.delete(member.name);
      return { report };
    } catch (error) {
      return { problem: (error as Error).message };
    }
  }
}
