import { abortError, type BlockId, CacheError, type MemberList, outOfRange, type WarmProgress } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import type {
  BlockTransport,
  CallLimits,
  Evicted,
  EvictSelector,
  MemberAddress,
  MemberCalls,
  MemberConnections,
  ObjectStat,
  ReadRequest,
  ReadTarget,
  StatQuestion,
  WarmOrder,
  WatchEnd,
} from "../members/ports.js";
import { ramp } from "./ramp.js";

/** How one read goes wrong or waits; nothing of it: it goes well. */
export interface ReadScript {
  /** Waited for before the answer begins. */
  readonly gate?: Promise<void>;
  /** The answer's version, instead of the object's. */
  readonly version?: string;
  /** The answer breaks off after so many bytes. */
  readonly afterBytes?: number;
  /** What it breaks off with, or what it fails with at once. */
  readonly error?: CacheError;
}

/** A read that was asked for. */
export interface AskedRead extends ReadRequest {
  readonly address: string;
}

/** Members in memory that all hold one ramp object. */
export class FakeTransport implements BlockTransport, MemberCalls, MemberConnections {
  readonly blocks = this;
  readonly calls = this;
  /** The object as it is now; tests overwrite it. */
  object: { readonly version: string; readonly size: number };
  /** Decides how each read goes; `count` is 1 for the first. */
  onRead: (read: AskedRead, count: number) => ReadScript | undefined = () => undefined;
  /** Decides how each watch goes; without it, members don't know WatchMembers. */
  onWatch: ((address: string, onMembers: (list: MemberList) => void, limits: CallLimits) => Promise<WatchEnd>) | undefined;
  /** Decides how each warming goes. */
  onWarm: (address: string, order: WarmOrder, onProgress: (progress: WarmProgress) => void, limits: CallLimits) => Promise<void> =
    async () => undefined;
  onProbe: (address: string) => Promise<void> = async () => undefined;
  readonly reads: AskedRead[] = [];
  readonly touches: { readonly address: string; readonly blocks: readonly BlockId[] }[] = [];
  readonly probes: string[] = [];
  kept: string[] = [];
  closed = false;
  running = 0;
  mostRunning = 0;

  constructor(object: { readonly version: string; readonly size: number }) {
    this.object = object;
  }

  async read({ grpcAddress }: MemberAddress, target: ReadTarget, limits: CallLimits): Promise<void> {
    const read = { ...target.nextRequest(), address: grpcAddress };
    this.reads.push(read);
    this.mostRunning = Math.max(this.mostRunning, ++this.running);
    try {
      await this.#answer(read, this.onRead(read, this.reads.length) ?? {}, target, limits);
    } finally {
      this.running--;
    }
  }

  async stat(_address: MemberAddress, _question: StatQuestion, _limits: CallLimits): Promise<ObjectStat> {
    return { version: this.object.version, objectSize: this.object.size, cachedBytes: 0 };
  }

  async evict(_address: MemberAddress, _selector: EvictSelector, _limits: CallLimits): Promise<Evicted> {
    return { blocks: 0, bytes: 0 };
  }

  async warm(
    { grpcAddress }: MemberAddress,
    order: WarmOrder,
    onProgress: (progress: WarmProgress) => void,
    limits: CallLimits,
  ): Promise<void> {
    await this.onWarm(grpcAddress, order, onProgress, limits);
  }

  async touch({ grpcAddress }: MemberAddress, blocks: readonly BlockId[]): Promise<number> {
    this.touches.push({ address: grpcAddress, blocks });
    return blocks.length;
  }

  async watchMembers(
    { grpcAddress }: MemberAddress,
    onMembers: (list: MemberList) => void,
    limits: CallLimits,
  ): Promise<WatchEnd> {
    return this.onWatch === undefined ? "unsupported" : this.onWatch(grpcAddress, onMembers, limits);
  }

  async probe({ grpcAddress }: MemberAddress): Promise<void> {
    this.probes.push(grpcAddress);
    await this.onProbe(grpcAddress);
  }

  keepOnly(addresses: readonly MemberAddress[]): void {
    this.kept = addresses.map(({ grpcAddress }) => grpcAddress);
  }

  renew(): void {
    this.keepOnly([]);
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  async #answer(read: AskedRead, script: ReadScript, target: ReadTarget, limits: CallLimits): Promise<void> {
    await orAborted(script.gate ?? Promise.resolve(), limits.signal);
    const { version, size } = this.object;
    if (script.error !== undefined && script.afterBytes === undefined) throw script.error;
    if (read.version !== "" && read.version !== version)
      throw new CacheError("FAILED_PRECONDITION", `${read.url} is of version ${version}`);
    if (read.offset >= size) throw outOfRange(read.url, read.offset, size);
    target.open({ version: script.version ?? version, objectSize: size }, { resume: () => undefined });
    const expected = Math.min(read.length, size - read.offset);
    const bytes = Math.min(script.afterBytes ?? expected, expected);
    // In two halves, so that readers see a part of it first.
    let sent = 0;
    for (const end of bytes > 1 ? [bytes >> 1, bytes] : [bytes]) {
      while (sent < end) {
        const copied = ramp(read.offset + sent, end - sent).copy(target.room());
        sent += copied;
        target.landed(copied);
      }
      await orAborted(Promise.resolve(), limits.signal);
    }
    if (script.error !== undefined) throw script.error;
    if (bytes < expected) throw new CacheError("INTERNAL", `${read.url}: the member sent ${bytes} bytes instead of ${expected}`);
  }
}

/** Settles as `work` does; when aborted, a moment later, for stopping takes sockets a moment too. */
function orAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const remove = whenAborted(signal, () => setImmediate(() => reject(abortError(signal))));
    if (!signal.aborted) work.then(resolve, reject).finally(remove);
  });
}
