import { CacheError, type ObjectInfo, type ObjectRef } from "@frontcache/proto";
import { Clients, noLimits } from "../api/limits/clients.js";
import type { ObjectReader } from "../api/s3/exchange.js";
import { GatewayListener } from "../api/s3/gateway-listener.js";
import type { Page } from "../api/s3/page.js";
import type { ObjectRead } from "../cache/object-read.js";
import type { ReadRequest } from "../routing/router.js";
import { systemClock } from "../runtime/clock.js";
import { silentLog } from "../runtime/log.js";
import { noSecurity } from "../security/member-security.js";
import { ManualClock } from "./manual-clock.js";
import { MemoryReader } from "./memory-reader.js";
import { RawClient } from "./raw-client.js";

/** When every object of the fixture was last modified. */
export const LAST_MODIFIED = "Fri, 01 Nov 2024 12:00:00 GMT";

/** Further milliseconds, which no header tells. */
const lastModifiedMs = Date.parse(LAST_MODIFIED) + 789;

/** The MemoryReader as a gateway asks it: its objects have one version, a type and a date. */
export class GatewayReader implements ObjectReader {
  readonly memory = new MemoryReader();
  /** The version of every object. Whoever asks for another one gets FAILED_PRECONDITION. */
  version = "v1";
  contentType: string | undefined = "text/plain";
  /** Whether reads tell type and date, as held blocks do. */
  describesReads = true;
  /** Whether slices are of memory that others wait for. */
  scarce = false;
  /** What `stat` does first, if anything. */
  beforeStat: ((signal: AbortSignal) => Promise<void> | void) | undefined;
  stats = 0;

  read(request: ReadRequest): ObjectRead | Promise<ObjectRead> {
    this.#check(request.version);
    const read = this.memory.read({ ...request, version: this.version });
    return read instanceof Promise ? read.then((opened) => this.#described(opened)) : this.#described(read);
  }

  async stat(ref: ObjectRef, version: string | undefined, signal: AbortSignal) {
    this.stats++;
    await this.beforeStat?.(signal);
    const { info, heldBytes } = await this.memory.stat(ref, undefined, signal);
    this.#check(version);
    return { info: this.#describe({ version: this.version, objectSize: info.objectSize }), heldBytes };
  }

  list(...[ref, page, signal]: Parameters<ObjectReader["list"]>): ReturnType<ObjectReader["list"]> {
    return this.memory.list(ref, page, signal);
  }

  statBucket(...[ref, signal]: Parameters<ObjectReader["statBucket"]>): Promise<void> {
    return this.memory.statBucket(ref, signal);
  }

  #check(version: string | undefined): void {
    if (version === undefined || version === this.version) return;
    throw new CacheError("FAILED_PRECONDITION", `the object is of version ${this.version}`);
  }

  #described(read: ObjectRead): ObjectRead {
    const { offset, length, result } = read;
    const info = this.describesReads ? this.#describe(read.info) : read.info;
    const lend = (slice: Awaited<ReturnType<ObjectRead["next"]>>) =>
      slice === undefined ? undefined : { bytes: slice.bytes, scarce: this.scarce, release: slice.release };
    const next = () => {
      const slice = read.next();
      return slice instanceof Promise ? slice.then(lend) : lend(slice);
    };
    return { info, offset, length, result, next, close: read.close };
  }

  #describe(info: ObjectInfo): ObjectInfo {
    return { ...info, lastModifiedMs, ...(this.contentType !== undefined && { contentType: this.contentType }) };
  }
}

/** A listener on a free local port, before a reader with objects in memory. */
export class GatewayFixture implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly reader = new GatewayReader();
  readonly logged: object[] = [];
  readonly clients = new Clients(noLimits, systemClock);
  notReadyReasons: string[] = [];
  readonly pages = new Map<string, Page>();
  #listener!: GatewayListener;

  /** Opens it; it serves at once unless `starting`. */
  static async open(options: { starting?: boolean } = {}): Promise<GatewayFixture> {
    const fixture = new GatewayFixture();
    const log = {
      ...silentLog,
      warn: (line: object) => fixture.logged.push(line),
      error: (line: object) => fixture.logged.push(line),
    };
    fixture.#listener = await GatewayListener.open({
      listen: { host: "127.0.0.1", port: 0 },
      drainMs: 10_000,
      notReadyReasons: () => fixture.notReadyReasons,
      pages: fixture.pages,
      security: noSecurity,
      clients: fixture.clients,
      clock: fixture.clock,
      log: log as typeof silentLog,
    });
    if (options.starting !== true) fixture.#listener.serve(fixture.reader);
    return fixture;
  }

  get listener(): GatewayListener {
    return this.#listener;
  }

  put(url: string, bytes: Buffer | string): void {
    this.reader.memory.objects.set(url, Buffer.from(bytes));
  }

  connect(): Promise<RawClient> {
    return RawClient.connect(this.#listener.address.port);
  }

  /** What is borrowed, open or waiting: all 0 where nothing is left behind. */
  left(): { reads: number; slices: number; timers: number; running: number } {
    const { openReads: reads, openSlices: slices } = this.reader.memory;
    return { reads, slices, timers: this.clock.waits, running: this.#listener.runningAnswers };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#listener.close();
    this.clock.advance(10_000);
    await closed;
  }
}

/** What `left` is at rest. */
export const NOTHING_LEFT = { reads: 0, slices: 0, timers: 0, running: 0 };
