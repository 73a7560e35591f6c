import { once } from "node:events";
import { type IncomingMessage, request as sendRequest } from "node:http";
import { ManualClock } from "@frontcache/proto/testing";
import type { HttpListenerName } from "../api/http/http-context.js";
import { HttpListener } from "../api/http/http-listener.js";
import type { Site } from "../api/http/site.js";
import { Clients, noLimits } from "../api/limits/clients.js";
import { systemClock } from "../runtime/clock.js";
import { silentLog } from "../runtime/log.js";
import { loadLibc } from "../storage/mapping/libc.js";
import type { Values } from "../values/values.js";
import { MemoryValues } from "./memory-values.js";
import { noSecurity } from "./no-security.js";

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
  #listener!: HttpListener<Values>;

  static async open(name: HttpListenerName, site: (fixture: ValueListener) => Site<Values>): Promise<ValueListener> {
    const fixture = new ValueListener();
    fixture.#listener = await HttpListener.open<Values>({
      listen: { tcp: { host: "127.0.0.1", port: 0 } },
      name,
      site: site(fixture),
      drainMs: 10_000,
      notReadyReasons: () => fixture.notReadyReasons,
      writes: true,
      pages: new Map(),
      security: noSecurity,
      socketCalls: process.env.FRONTCACHE_SENDFILE === "false" ? undefined : await loadLibc(),
      clients: fixture.clients,
      clock: fixture.clock,
      log: silentLog,
    });
    fixture.#listener.serve(fixture.values);
    return fixture;
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
