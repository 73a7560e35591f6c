import { once } from "node:events";
import { type IncomingMessage, request as sendRequest } from "node:http";
import { ManualClock } from "@frontcache/proto/testing";
import type { HttpListenerName } from "../api/http/http-context.js";
import { HttpListener } from "../api/http/http-listener.js";
import type { Site } from "../api/http/site.js";
import { Clients } from "../api/limits/clients.js";
import { systemClock } from "../runtime/clock.js";
import type { Security } from "../security/member-security.js";
import { loadLibc } from "../storage/mapping/libc.js";
import type { Values } from "../values/values.js";
import { MemoryValues } from "./memory-values.js";
import { noLimits } from "./no-limits.js";
import { membersAre, noSecurity } from "./no-security.js";
import { silentLog } from "./silent-ports.js";

/** A response as received. */
export interface ReceivedReply {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

/** What a request consists of besides method and path. */
export interface SentRequest {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
}

/** An HTTP listener on a free local port that serves values in memory by an interface. */
export class ValueListener implements AsyncDisposable {
  /** The time of the values, and of the listener. */
  readonly clock = new ManualClock();
  readonly values = new MemoryValues(this.clock);
  readonly clients = new Clients(noLimits, systemClock);
  notReadyReasons: string[] = [];
  #listener!: Pick<HttpListener<Values>, "address" | "close">;

  /** Serves values in memory. */
  static async open(name: HttpListenerName, site: (fixture: ValueListener) => Site<Values>): Promise<ValueListener> {
    const fixture = new ValueListener();
    await fixture.#serve(name, site(fixture), fixture.values, noSecurity);
    return fixture;
  }

  /** Serves something else. Every caller counts as a member, or none does. */
  static async serving<Served>(site: Site<Served>, served: Served, who: "everybody" | "nobody"): Promise<ValueListener> {
    const fixture = new ValueListener();
    await fixture.#serve("http", site, served, { ...noSecurity, members: membersAre(who) });
    return fixture;
  }

  async #serve<Served>(name: HttpListenerName, site: Site<Served>, served: Served, security: Security): Promise<void> {
    const listener = await HttpListener.open<Served>({
      listen: { tcp: { host: "127.0.0.1", port: 0 } },
      name,
      site,
      drainMs: 10_000,
      notReadyReasons: () => this.notReadyReasons,
      writes: true,
      pages: new Map(),
      security,
      socketCalls: process.env.FRONTCACHE_SENDFILE === "false" ? undefined : await loadLibc(),
      clients: this.clients,
      clock: this.clock,
      log: silentLog,
    });
    listener.serve(served);
    this.#listener = listener;
  }

  get port(): number {
    return this.#listener.address.port;
  }

  /** Sends a request, its path unchanged, on a connection of its own. */
  async send(method: string, path: string, { headers = {}, body }: SentRequest = {}): Promise<ReceivedReply> {
    const length =
      body === undefined || "transfer-encoding" in headers ? {} : { "content-length": String(Buffer.byteLength(body)) };
    const request = sendRequest({ port: this.port, method, path, agent: false, headers: { ...length, ...headers } });
    request.end(body);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    const pieces: Buffer[] = [];
    for await (const piece of response) pieces.push(piece as Buffer);
    return { status: response.statusCode!, headers: response.headers, body: Buffer.concat(pieces) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#listener.close();
    this.clock.advance(10_000);
    await closed;
    this.clients.close();
  }
}
