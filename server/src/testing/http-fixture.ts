import assert from "node:assert";
import { eventually, ManualClock } from "@frontcache/proto/testing";
import { HttpListener } from "../api/http/http-listener.js";
import type { Page } from "../api/http/pages.js";
import type { Site } from "../api/http/site.js";
import { Clients } from "../api/limits/clients.js";
import { Cors, type CorsOrigins } from "../api/s3/cors.js";
import { objectSite } from "../api/s3/object-site.js";
import { type Addressing, PREFIXED } from "../api/s3/request-target.js";
import type { SocketCalls } from "../api/sending/direct-socket.js";
import { systemClock } from "../runtime/clock.js";
import { loadLibc } from "../storage/mapping/libc.js";
import { MemoryCache } from "./memory-cache.js";
import { noLimits } from "./no-limits.js";
import { noSecurity } from "./no-security.js";
import { RawClient } from "./raw-client.js";
import { silentLog } from "./silent-ports.js";

/** Modification time of every object of the fixture. */
export const LAST_MODIFIED = "Fri, 01 Nov 2024 12:00:00 GMT";

/** An HTTP listener on a free local port, with a cache of objects in memory. */
export class HttpFixture implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly cache = new MemoryCache();
  readonly logged: object[] = [];
  readonly clients = new Clients(noLimits, systemClock);
  readonly debugLogged: object[] = [];
  notReadyReasons: string[] = [];
  readonly pages = new Map<string, Page>();
  #listener!: HttpListener;

  /** Opens the fixture; it serves immediately unless `starting`. The default addressing is that of the HTTP listener. */
  static async open(
    options: {
      starting?: boolean;
      addressing?: Addressing;
      corsOrigins?: CorsOrigins;
      socketCalls?: SocketCalls;
      wrap?: (site: Site) => Site;
      writes?: boolean;
    } = {},
  ): Promise<HttpFixture> {
    const { addressing = PREFIXED, corsOrigins = () => [], wrap = (site) => site } = options;
    const fixture = new HttpFixture();
    fixture.cache.describesReads = true;
    // Headers have no milliseconds.
    fixture.cache.lastModifiedMs = Date.parse(LAST_MODIFIED) + 789;
    const log = {
      ...silentLog,
      debugEnabled: true,
      debug: (line: object) => fixture.debugLogged.push(line),
      warn: (line: object) => fixture.logged.push(line),
      error: (line: object) => fixture.logged.push(line),
    };
    fixture.#listener = await HttpListener.open({
      listen: { tcp: { host: "127.0.0.1", port: 0 } },
      name: addressing.form === "root" ? "s3" : "http",
      site: wrap(objectSite(addressing, new Cors(corsOrigins))),
      writes: options.writes,
      drainMs: 10_000,
      notReadyReasons: () => fixture.notReadyReasons,
      pages: fixture.pages,
      security: noSecurity,
      // As `--sendfile` of members, so that one variable changes all tests.
      socketCalls: options.socketCalls ?? (process.env.FRONTCACHE_SENDFILE === "false" ? undefined : await loadLibc()),
      clients: fixture.clients,
      clock: fixture.clock,
      log: log as typeof silentLog,
    });
    if (options.starting !== true) fixture.#listener.serve(fixture.cache);
    return fixture;
  }

  get listener(): HttpListener {
    return this.#listener;
  }

  put(url: string, bytes: Buffer | string): void {
    this.cache.objects.set(url, Buffer.from(bytes));
  }

  /** Opens the fixture with objects, bytes by URL, and a client of it. */
  static async connected(
    objects: Readonly<Record<string, Buffer | string>>,
    options?: Parameters<typeof HttpFixture.open>[0],
  ): Promise<{ fixture: HttpFixture; client: RawClient }> {
    const fixture = await HttpFixture.open(options);
    for (const [url, bytes] of Object.entries(objects)) fixture.put(url, bytes);
    return { fixture, client: await fixture.connect() };
  }

  /** Waits until nothing is left of the requests, then closes the client and the fixture. */
  async closeAtRest(client: RawClient): Promise<void> {
    await eventually(() => assert.deepStrictEqual(this.left(), NOTHING_LEFT));
    await client[Symbol.asyncDispose]();
    await this[Symbol.asyncDispose]();
  }

  connect(): Promise<RawClient> {
    return RawClient.connect(this.#listener.address.port);
  }

  /** Counts of open and waiting resources: all 0 at rest. */
  left(): { reads: number; slices: number; timers: number; running: number } {
    const { openReads: reads, openSlices: slices } = this.cache;
    return { reads, slices, timers: this.clock.waits, running: this.#listener.runningAnswers };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#listener.close();
    this.clock.advance(10_000);
    await closed;
  }
}

/** The value of `left` at rest. */
export const NOTHING_LEFT = { reads: 0, slices: 0, timers: 0, running: 0 };
