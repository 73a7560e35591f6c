import type { MemberInfo } from "@frontcache/proto";
import { packageVersion } from "../../config/package-version.js";
import type { MetricsSnapshot } from "../../metrics/snapshot.js";
import type { MemberView } from "../../routing/member-view.js";
import type { Clock } from "../../runtime/clock.js";
import type { Security } from "../../security/member-security.js";
import type { BlockStore } from "../../storage/block-store.js";
import { type Page, type Pages, textPage } from "../s3/page.js";
import type { Reply, Request } from "../s3/reply.js";
import { askMember, MEMBER_PATH } from "./ask-member.js";
import { ClusterReporter } from "./cluster-reporter.js";
import type { MemberReport } from "./member-report.js";
import { StatusEvents } from "./status-events.js";
import { statusPage } from "./status-page.js";

const JSON_TYPE = "application/json";

export interface StatusPagesOptions {
  /** This member's. */
  readonly name: string;
  /** What it has counted, now. */
  readonly counted: () => MetricsSnapshot;
  readonly security: Security;
  readonly clock: Clock;
}

/** What there is to look at when the member has started. */
export interface StatusSources {
  readonly store: Pick<BlockStore, "status">;
  readonly view: Pick<MemberView, "current">;
}

/** What a gateway serves of the cluster's state: the page for people, the same as JSON, and its events. */
export class StatusPages {
  readonly pages: Pages;
  readonly #events: StatusEvents;
  readonly #version = packageVersion();
  #sources: StatusSources | undefined;

  constructor(private readonly options: StatusPagesOptions) {
    const { security, clock } = options;
    const own = (): MemberReport => this.#own();
    const ask = (member: MemberInfo): Promise<MemberReport> => askMember(member, security);
    const reporter = new ClusterReporter({ list: () => this.#sources?.view.current, own, ask, clock });
    const report = async (): Promise<string> => JSON.stringify(await reporter.report());
    this.#events = new StatusEvents({ report, clock });
    this.pages = new Map<string, Page>([
      ["/", statusPage()],
      ["/status", (request, reply) => void answerJson(request, reply, report)],
      [MEMBER_PATH, textPage(JSON_TYPE, () => JSON.stringify(own()))],
      ["/status/events", (request, reply) => this.#watch(request, reply)],
    ]);
  }

  /** Looks at these from now on; before, the member says that it is of no list and has no volumes. */
  watch(sources: StatusSources): void {
    this.#sources = sources;
  }

  /** Ends what watches, so that the listener can close. */
  close(): void {
    this.#events.close();
  }

  #own(): MemberReport {
    const { name, counted } = this.options;
    return { name, version: this.#version, ...counted(), volumes: this.#sources?.store.status().volumes ?? [] };
  }

  #watch({ method }: Request, reply: Reply): void {
    if (method === "HEAD") {
      reply.writeHead(200, ["Content-Type", "text/event-stream"]);
      reply.end();
    } else if (!this.#events.watch(reply)) {
      reply.writeHead(503, ["Content-Type", "text/plain", "Retry-After", "10"]);
      reply.end(Buffer.from("too many pages watch this member: open the page of another one\n"));
    }
  }
}

async function answerJson(request: Request, reply: Reply, json: () => Promise<string>): Promise<void> {
  const body = await json().catch(() => undefined);
  if (body !== undefined) textPage(JSON_TYPE, () => body)(request, reply);
  else {
    reply.writeHead(500, ["Content-Type", "text/plain", "Content-Length", "0"]);
    reply.end();
  }
}
