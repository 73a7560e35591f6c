import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Geometry } from "@frontcache/proto";
import {
  type BlockStore,
  buildTestMember,
  Clients,
  type Clock,
  Cors,
  type GcsOrigin,
  HttpListener,
  type LocalCache,
  loadLibc,
  noLimits,
  noSecurity,
  objectSite,
  openMapper,
  openNodeDisk,
  openTestStore,
  PREFIXED,
  RawClient,
  type Router,
  silentLog,
  storageTuning,
  systemClock,
} from "@frontcache/server/testing";
import { openS3 } from "../origin/open-s3.js";

/** Small blocks, so that objects of a megabyte have several. */
export const geometry: Geometry = { blockBytes: 256 << 10, segmentBytes: 64 << 10 };

/** A member's cache and HTTP listener in this process, with real sockets and files. */
export class HttpStack implements AsyncDisposable {
  readonly #closes: (() => void | Promise<void>)[] = [];
  local!: LocalCache;
  store!: BlockStore;
  router!: Router;
  listener!: HttpListener;

  /** `endpointOrOrigin`: of S3, or GCS. */
  static async open(
    endpointOrOrigin: string | GcsOrigin,
    options: {
      revalidateAfterMs?: number;
      sendfile?: boolean;
      writes?: boolean;
      teeWritesBytes?: number;
      /** The time of the listener. */
      clock?: Clock;
    } = {},
  ): Promise<HttpStack> {
    // As `--sendfile` of members, so that one variable changes all tests.
    const {
      sendfile = process.env.FRONTCACHE_SENDFILE !== "false",
      writes,
      teeWritesBytes,
      clock: listenerClock,
      ...more
    } = options;
    const stack = new HttpStack();
    const clock = systemClock;
    const path = await mkdtemp(join(tmpdir(), "frontcache-test-"));
    stack.#closes.push(() => rm(path, { recursive: true, force: true }));
    const store = await openTestStore({
      volumes: [{ path, limitBytes: 64 << 20 }],
      geometry,
      disk: await openNodeDisk(),
      mapper: await openMapper({ blockBytes: geometry.blockBytes, maxMappings: 64 }),
      clock,
      maxMappings: 64,
      tuning: storageTuning,
    });
    stack.store = store;
    stack.#closes.push(() => store.close());
    const origin =
      typeof endpointOrOrigin === "string"
        ? openS3(endpointOrOrigin, { region: "us-east-1", maxConnections: 16, idleTimeoutMs: 60_000 })
        : endpointOrOrigin;
    stack.#closes.push(() => origin.close());
    const settings = { partBytes: 128 << 10, fillMemoryBytes: 1 << 20, staleIfError: false, negativeTtlMs: 0, ...more };
    const member = buildTestMember({ geometry, clock, store, origin, settings, teeWritesBytes });
    stack.#closes.push(() => member.close());
    stack.local = member.local;
    stack.router = member.router;
    stack.listener = await HttpListener.open({
      listen: { tcp: { host: "127.0.0.1", port: 0 } },
      name: "http",
      site: objectSite(PREFIXED, new Cors(() => [])),
      writes,
      drainMs: 5_000,
      notReadyReasons: () => [],
      pages: new Map(),
      security: noSecurity,
      socketCalls: sendfile ? await loadLibc() : undefined,
      clients: new Clients(noLimits, systemClock),
      clock: listenerClock ?? clock,
      log: silentLog,
    });
    stack.#closes.push(() => stack.listener.close());
    stack.listener.serve(stack.router);
    return stack;
  }

  /** The endpoint for S3 clients, path style. */
  get endpoint(): string {
    return `http://127.0.0.1:${this.listener.address.port}/s3`;
  }

  connect(): Promise<RawClient> {
    return RawClient.connect(this.listener.address.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let close = this.#closes.pop(); close !== undefined; close = this.#closes.pop()) await close();
  }
}
