import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Geometry, MemberInfo } from "@frontcache/proto";
import {
  alone,
  BlockStore,
  Clients,
  firstMembership,
  HttpListener,
  LocalCache,
  MemberView,
  noLimits,
  noSecurity,
  openMapper,
  openNodeDisk,
  openOtherMembers,
  RawClient,
  Router,
  silentLog,
  silentRouting,
  storageTuning,
  systemClock,
} from "@frontcache/server/testing";
import { openS3 } from "../origin/open-s3.js";

/** Small enough that objects of a megabyte have several blocks. */
export const geometry: Geometry = { blockBytes: 256 << 10, segmentBytes: 64 << 10 };

/** A member's cache with its gateway, on real sockets and files, in this process; its origin is an S3 endpoint. */
export class HttpStack implements AsyncDisposable {
  readonly #closes: (() => void | Promise<void>)[] = [];
  local!: LocalCache;
  store!: BlockStore;
  router!: Router;
  listener!: HttpListener;

  static async open(endpoint: string): Promise<HttpStack> {
    const stack = new HttpStack();
    const clock = systemClock;
    const path = await mkdtemp(join(tmpdir(), "frontcache-test-"));
    stack.#closes.push(() => rm(path, { recursive: true, force: true }));
    const store = await openStore(path);
    stack.store = store;
    stack.#closes.push(() => store.close());
    const origin = openS3(endpoint, { region: "us-east-1", maxConnections: 16, idleTimeoutMs: 10_000 });
    stack.#closes.push(() => origin.close());
    stack.local = new LocalCache({
      geometry,
      origin,
      store,
      clock,
      fill: "auto",
      partBytes: 128 << 10,
      fillMemoryBytes: 1 << 20,
      fillParallelism: 4,
      staleIfError: false,
      revalidateAfterMs: 60_000,
      negativeTtlMs: 0,
    });
    stack.#closes.push(() => stack.local.close());
    const self: MemberInfo = { name: "self", grpcAddress: "127.0.0.1:1" };
    const members = alone(self, geometry.blockBytes);
    stack.#closes.push(() => members.close());
    const view = new MemberView(self.name, clock, await firstMembership(members, new AbortController().signal));
    const others = openOtherMembers({ self, view, clock });
    stack.#closes.push(() => others.close());
    stack.listener = await HttpListener.open({
      listen: { host: "127.0.0.1", port: 0 },
      drainMs: 5_000,
      notReadyReasons: () => [],
      pages: new Map(),
      security: noSecurity,
      clients: new Clients(noLimits, systemClock),
      clock,
      log: silentLog,
    });
    stack.#closes.push(() => stack.listener.close());
    stack.router = new Router({ local: stack.local, geometry, others, events: silentRouting });
    stack.listener.serve(stack.router);
    return stack;
  }

  /** The endpoint for S3's clients, path style. */
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

async function openStore(path: string): Promise<BlockStore> {
  return BlockStore.open({
    volumes: [{ path, limitBytes: 64 << 20 }],
    geometry,
    disk: await openNodeDisk(),
    mapper: await openMapper({ blockBytes: geometry.blockBytes, maxMappings: 64 }),
    clock: systemClock,
    log: silentLog,
    highWatermark: 95,
    lowWatermark: 90,
    eviction: "lru",
    maxMappings: 64,
    purgeIntervalMs: 10_000,
    tuning: storageTuning,
  });
}
