import type { MemberInfo, Membership } from "@frontcache/proto";
import type { Clock } from "../../runtime/clock.js";
import { sideBySide } from "../../runtime/side-by-side.js";
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

/** Tells of the cluster as one member sees it, by asking the others. */
export class ClusterReporter {
  #last: Promise<ClusterReport> | undefined;
  /** Until when the last report serves (monotonic); while it is made, however long that takes. */
  #freshUntilMs = Number.POSITIVE_INFINITY;

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
    await this.#askAll(others, told);
    return {
      atMs: clock.nowMs(),
      member: self.name,
      listHash: membership?.hash ?? "",
      members: members.map((member) => ({ ...member, ...(told.get(member.name) ?? { problem: LATE }) })),
    };
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
    const asked = sideBySide(members, PARALLELISM, async (member) => {
      if (!over) told.set(member.name, await this.#ask(member));
    });
    await Promise.race([asked, deadline]).finally(cancel);
  }

  async #ask(member: MemberInfo): Promise<Told> {
    try {
      return { report: await this.options.ask(member) };
    } catch (error) {
      return { problem: (error as Error).message };
    }
  }
}
