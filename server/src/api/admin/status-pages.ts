import type { MemberInfo } from "@frontcache/proto";
import { packageVersion } from "../../config/package-version.js";
import type { MemberSource } from "../../membership/member-source.js";
import type { MetricsSnapshot } from "../../metrics/snapshot.js";
import type { MemberView } from "../../routing/member-view.js";
import type { Clock } from "../../runtime/clock.js";
import type { Security } from "../../security/member-security.js";
import type { BlockStore } from "../../storage/block-store.js";
import type { Reply, Request } from "../http/http-context.js";
import { type Page, type Pages, textPage } from "../http/pages.js";
import { ClusterReporter } from "./cluster-reporter.js";
import type { ClusterReport, MemberReport } from "./member-report.js";
import { getFromMember } from "./member-request.js";
import { StatusEvents } from "./status-events.js";
import { statusPage } from "./status-page.js";

const JSON_TYPE = "application/json";

/** The path of a member's own report. */
const MEMBER_PATH = "/status/member";

/** Maximum size of the report of another member. */
const MEMBER_MAX_BYTES = 1 << 20;

export interface StatusPagesOptions {
  /** The name of this member. */
  readonly name: string;
  /** Timeout of the report of another member. */
  readonly memberTimeoutMs: number;
  /** The current values of its counters. */
  readonly counted: () => MetricsSnapshot;
  readonly security: Security;
  readonly clock: Clock;
}

/** The parts of a member that exist once it has started. */
export interface StatusSources {
  readonly store: Pick<BlockStore, "status">;
  readonly view: Pick<MemberView, "current">;
  readonly members: Pick<MemberSource, "report">;
  readonly notReady: () => readonly string[];
}

/** The pages of the HTTP listener about the cluster: the status page, the same data as JSON, and its events. */
export class StatusPages {
  readonly pages: Pages;
  readonly #options: StatusPagesOptions;
  readonly #events: StatusEvents;
  readonly #version = packageVersion();
  readonly #reporter: ClusterReporter;
  #sources: StatusSources | undefined;

  constructor(options: StatusPagesOptions) {
    this.#options = options;
    const { security, clock, memberTimeoutMs: timeoutMs } = options;
    const own = (): MemberReport => this.#own();
    const ask = (member: MemberInfo): Promise<MemberReport> => requestReport(member, security, timeoutMs);
    const reporter = new ClusterReporter({ list: () => this.#sources?.view.current, own, ask, clock });
    this.#reporter = reporter;
    const report = async (): Promise<string> => JSON.stringify(await reporter.report());
    this.#events = new StatusEvents({ report, clock });
    this.pages = new Map<string, Page>([
      ["/", statusPage()],
      ["/status", (request, reply) => void answerJson(request, reply, report)],
      [MEMBER_PATH, textPage(JSON_TYPE, () => JSON.stringify(own()))],
      ["/status/events", (request, reply) => this.#watch(request, reply)],
    ]);
  }

  /** Starts reporting the state of these parts. Before that, the member is starting and reports no list and no volumes. */
  watch(sources: StatusSources): void {
    this.#sources = sources;
  }

  /** Returns the status of the cluster. */
  cluster(): Promise<ClusterReport> {
    return this.#reporter.report();
  }

  /** Ends the event streams, so that the listener can close. */
  close(): void {
    this.#events.close();
  }

  #own(): MemberReport {
    const { name, counted } = this.#options;
    const { volumes = [], buckets = [] } = this.#sources?.store.status() ?? {};
    return {
      name,
      version: this.#version,
      notReady: this.#sources?.notReady() ?? ["this member is starting"],
      membershipAgeMs: this.#sources && Math.round(this.#sources.members.report().ageMs),
      ...counted(),
      volumes,
      buckets,
    };
  }

  #watch({ method }: Request, reply: Reply): void {
    if (method === "HEAD") {
      reply.writeHead(200, ["Content-Type", "text/event-stream"]);
      reply.end();
    } else if (!this.#events.watch(reply)) {
      reply.writeHead(503, ["Content-Type", "text/plain", "Retry-After", "10"]);
      reply.end(Buffer.from("too many open status pages of this member: open the page of another member\n"));
    }
  }
}

/** Requests the report of another member, authenticated as this member. Rejects with one line. */
async function requestReport(
  { httpAddress }: MemberInfo,
  { tls, ownToken: token, caller: member }: Security,
  timeoutMs: number,
): Promise<MemberReport> {
  const { status, text } = await getFromMember({
    address: httpAddress!,
    path: MEMBER_PATH,
    access: { tls: tls && { ...tls.current, serverName: tls.serverName }, token, member },
    timeoutMs,
    maxBytes: MEMBER_MAX_BYTES,
  });
  if (status !== 200) throw new Error(`the member answers with HTTP status ${status}`);
  return JSON.parse(text) as MemberReport;
}

async function answerJson(request: Request, reply: Reply, json: () => Promise<string>): Promise<void> {
  const body = await json().catch(() => undefined);
  if (body !== undefined) textPage(JSON_TYPE, () => body)(request, reply);
  else {
    reply.writeHead(500, ["Content-Type", "text/plain", "Content-Length", "0"]);
    reply.end();
  }
}
