import type { MemberInfo, Membership } from "@frontcache/proto";
import { forEachConcurrent } from "@frontcache/proto/runtime";
import type { Clock } from "../../runtime/clock.js";
import type { ClusterReport, ListedMember, MemberReport } from "./member-report.js";

/** Requests the report of another member; rejects with the cause on one line. */
export type AskMember = (member: MemberInfo) => Promise<MemberReport>;

export interface ClusterReporterOptions {
  /** Undefined while the member starts. */
  readonly list: () => Membership | undefined;
  /** Creates the report of this member. */
  readonly own: () => MemberReport;
  readonly ask: AskMember;
  readonly clock: Clock;
}

/** Concurrent requests. */
const PARALLELISM = 16;

/**
 * Maximum duration of a report. Each unreachable member takes a timeout of one second, and dozens may be unreachable; the
 * report should show that soon.
 */
const REPORT_MS = 3_000;

/** A report is reused for this time, so that more subscribers do not cause more requests. */
const FRESH_MS = 500;

/** The problem of a member that did not answer in time. */
const LATE = `no answer within ${REPORT_MS / 1_000} s`;

type Answer = Pick<ListedMember, "state" | "report" | "problem">;

/**
 * Reports the status of the cluster by requesting the reports of the other members. Members that did not answer are asked last
 * the next time, so after a few reports all reachable members are in each report, even if many others are unreachable.
 */
export class ClusterReporter {
  readonly #options: ClusterReporterOptions;
  #last: Promise<ClusterReport> | undefined;
  /** Time (monotonic) until which the last report is reused. A running report is reused until it ends. */
  #freshUntilMs = Number.POSITIVE_INFINITY;
  /** Names of listed members that did not answer the last request, the one asked longest ago first. */
  readonly #silent = new Set<string>();

  constructor(options: ClusterReporterOptions) {
    this.#options = options;
  }

  /** Returns the status of the cluster, at most half a second old. A member that does not answer is listed with the reason. */
  report(): Promise<ClusterReport> {
    const { clock } = this.#options;
    if (this.#last !== undefined && clock.monotonicMs() < this.#freshUntilMs) return this.#last;
    this.#freshUntilMs = Number.POSITIVE_INFINITY;
    this.#last = this.#gather().finally(() => {
      this.#freshUntilMs = clock.monotonicMs() + FRESH_MS;
    });
    return this.#last;
  }

  async #gather(): Promise<ClusterReport> {
    const { list, own, clock } = this.#options;
    const membership = list();
    const self = own();
    const shares = membership?.ringShares();
    const members = (membership?.members ?? []).map((member) => ({ ...member, ringShare: shares?.get(member.name) ?? 0 }));
    const answers = new Map<string, Answer>([[self.name, answerOf(self)]]);
    const others = members.filter(({ name }) => name !== self.name);
    await this.#askAll(this.#inOrder(others), answers);
    return {
      atMs: clock.nowMs(),
      member: self.name,
      listHash: membership?.hash ?? "",
      members: members.map((member) => ({ ...member, ...(answers.get(member.name) ?? unreachable(LATE)) })),
    };
  }

  /** Sorts members: those that answered last time first. Forgets members that are no longer listed. */
  #inOrder(members: readonly MemberInfo[]): MemberInfo[] {
    const byName = new Map(members.map((member) => [member.name, member]));
    for (const name of this.#silent) if (!byName.has(name)) this.#silent.delete(name);
    return [...members.filter(({ name }) => !this.#silent.has(name)), ...[...this.#silent].map((name) => byName.get(name)!)];
  }

  /** Resolves when all have answered, or at the deadline of the report. */
  async #askAll(members: readonly MemberInfo[], answers: Map<string, Answer>): Promise<void> {
    let cancel = (): void => {};
    let over = false;
    const deadline = new Promise<void>((resolve) => {
      cancel = this.#options.clock.after(REPORT_MS, () => {
        over = true;
        resolve();
      });
    });
    const asked = forEachConcurrent(members, PARALLELISM, async (member) => {
      if (!over) answers.set(member.name, await this.#ask(member));
    });
    await Promise.race([asked, deadline]).finally(cancel);
  }

  async #ask(member: MemberInfo): Promise<Answer> {
    if (member.httpAddress === undefined) return { state: "unknown", problem: "the address of its HTTP listener is not known" };
    // Counts as silent until it has answered, because the report may end before.
    this.#silent.delete(member.name);
    this.#silent.add(member.name);
    try {
      const report = await this.#options.ask(member);
      this.#silent.delete(member.name);
      return answerOf(report);
    } catch (error) {
      return unreachable((error as Error).message);
    }
  }
}

function answerOf(report: MemberReport): Answer {
  return { state: report.notReady.length === 0 ? "ready" : "not ready", report };
}

function unreachable(problem: string): Answer {
  return { state: "unreachable", problem };
}
