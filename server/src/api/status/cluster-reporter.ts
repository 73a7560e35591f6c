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

/** A report serves everybody who asks for one within so long, so that watchers don't multiply the questions. */
const FRESH_MS = 500;

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
    const told = new Map<string, Pick<ListedMember, "report" | "problem">>([[self.name, { report: self }]]);
    const others = members.filter(({ name }) => name !== self.name);
    await sideBySide(others, PARALLELISM, async (member) => {
      told.set(member.name, await this.#ask(member));
    });
    return {
      atMs: clock.nowMs(),
      member: self.name,
      listHash: membership?.hash ?? "",
      members: members.map((member) => ({ ...member, ...told.get(member.name) })),
    };
  }

  async #ask(member: MemberInfo): Promise<Pick<ListedMember, "report" | "problem">> {
    try {
      return { report: await this.options.ask(member) };
    } catch (error) {
      return { problem: (error as Error).message };
    }
  }
}
