import { deepEqual } from "node:assert/strict";
import { CacheServiceClient } from "@frontcache/client/grpc";
import type { ReadRangeRequest, ReadRangeResponse } from "@frontcache/proto";
import { eventually, ManualClock } from "@frontcache/proto/testing";
import { credentials } from "@grpc/grpc-js";
import { GrpcListener } from "../api/grpc/grpc-listener.js";
import { Clients } from "../api/limits/clients.js";
import { formatHostPort } from "../config/addresses.js";
import type { ListenAddress } from "../config/listen-address.js";
import { systemClock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { MemoryCache } from "./memory-cache.js";
import { MemoryValues } from "./memory-values.js";
import { noLimits } from "./no-limits.js";
import { noSecurity } from "./no-security.js";
import { rampBytes } from "./origin/ramp.js";
import { knowsNoObjects } from "./other-members.js";

/** The default object of the fixture's reads. */
export const URL = "s3://bucket/object";

/** Drain timeout of the fixture's listener, milliseconds. */
export const DRAIN_MS = 10_000;

/** Returns a request for the whole object, with some other fields. */
export function readRequest(fields: Partial<ReadRangeRequest> = {}): ReadRangeRequest {
  return { key: URL, offset: 0, length: 0, version: "", forwarded: false, cachedOnly: false, ...fields };
}

/** A gRPC listener on a free local port, with a cache of objects in memory, and a client. */
export class GrpcFixture implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly cache = new MemoryCache();
  readonly values = new MemoryValues(this.clock);
  readonly clients = new Clients(noLimits, systemClock);
  readonly logged: Record<string, unknown>[] = [];
  readonly debugLogged: Record<string, unknown>[] = [];
  #listener!: GrpcListener;
  #client!: CacheServiceClient;

  /** Opens the fixture; it serves immediately unless `starting`. */
  static async open(options: { starting?: boolean; listen?: ListenAddress } = {}): Promise<GrpcFixture> {
    const fixture = new GrpcFixture();
    const take = (fields: unknown): void => void fixture.logged.push(fields as Record<string, unknown>);
    const takeDebug = (fields: unknown): void => void fixture.debugLogged.push(fields as Record<string, unknown>);
    fixture.#listener = await GrpcListener.open({
      listen: options.listen ?? { tcp: { host: "127.0.0.1", port: 0 } },
      drainMs: DRAIN_MS,
      security: noSecurity,
      clients: fixture.clients,
      clock: fixture.clock,
      log: { debug: takeDebug, debugEnabled: true, info: take, warn: take, error: take } as unknown as Log,
    });
    if (options.starting !== true) fixture.serve();
    fixture.#client = new CacheServiceClient(fixture.address, credentials.createInsecure());
    return fixture;
  }

  /** Answers calls from now on. */
  serve(): void {
    const { cache, values } = this;
    this.#listener.serve({ cache, members: cache, objects: knowsNoObjects, clientValues: values });
  }

  /** Answers as a member without buckets of values. */
  serveWithoutValues(): void {
    const { cache } = this;
    this.#listener.serve({ cache, members: cache, objects: knowsNoObjects });
  }

  get listener(): GrpcListener {
    return this.#listener;
  }

  get client(): CacheServiceClient {
    return this.#client;
  }

  get address(): string {
    return formatHostPort(this.#listener.address);
  }

  /** Replaces the object by a ramp of this length. */
  put(bytes: number): Buffer {
    const object = rampBytes(0, bytes, 7);
    this.cache.objects.set(URL, object);
    return object;
  }

  /** Returns all messages of a read; rejects with the call's error. */
  async messagesOf(fields: Partial<ReadRangeRequest> = {}): Promise<ReadRangeResponse[]> {
    const messages: ReadRangeResponse[] = [];
    for await (const message of this.client.readRange(readRequest(fields))) messages.push(message);
    return messages;
  }

  /** Returns all bytes of a read. */
  async bytesOf(fields: Partial<ReadRangeRequest> = {}): Promise<Buffer> {
    return Buffer.concat((await this.messagesOf(fields)).map((message) => message.data));
  }

  /** Resolves when every call has ended and has released its resources. */
  async untilNothingIsLeft(): Promise<void> {
    await eventually(() => deepEqual({ ...this.#borrowed(), timers: this.clock.waits }, { ...nothing, timers: 0 }));
  }

  /** Fails if a call continues without its client, or a resource is not released. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await eventually(() => deepEqual(this.#borrowed(), nothing));
    const closed = this.listener.close();
    this.clock.advance(DRAIN_MS);
    await closed;
    deepEqual([this.clock.waits, this.cache.memberListeners.size], [0, 0]);
  }

  #borrowed(): typeof nothing {
    return {
      calls: this.listener.runningCalls,
      reads: this.cache.openReads,
      slices: this.cache.openSlices + this.values.openSlices,
    };
  }
}

const nothing = { calls: 0, reads: 0, slices: 0 };
