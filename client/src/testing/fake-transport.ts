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

/** The faults of one read; without any it succeeds. */
export interface ReadScript {
  /** The response begins after this promise. */
  readonly gate?: Promise<void>;
  /** The version of the response; default: the object's. */
  readonly version?: string;
  /** The response is interrupted after this number of bytes. */
  readonly afterBytes?: number;
  /** The error of the interruption, or the immediate error. */
  readonly error?: CacheError;
}

/** A requested read. */
export interface AskedRead extends ReadRequest {
  readonly address: string;
}

/** Members in memory that have all cached one ramp object. */
export class FakeTransport implements BlockTransport, MemberCalls, Omit<MemberConnections, "objects" | "values"> {
  readonly blocks = this;
  readonly calls = this;
  /** The current object; tests overwrite it. */
  object: { readonly version: string; readonly size: number };
  /** Returns the faults of each read; `count` is 1 for the first. */
  onRead: (read: AskedRead, count: number) => ReadScript | undefined = () => undefined;
  /** Answers each watch; undefined: members do not support WatchMembers. */
  onWatch: ((address: string, onMembers: (list: MemberList) => void, limits: CallLimits) => Promise<WatchEnd>) | undefined;
  /** Answers each warming. */
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
    target.sent();
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
    // In two halves, so that consumers get a part of it first.
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

/** Settles as `work` does, or rejects shortly after the signal is aborted, because sockets also take a moment to stop. */
function orAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const remove = whenAborted(signal, () => setImmediate(() => reject(abortError(signal))));
    if (!signal.aborted) work.then(resolve, reject).finally(remove);
  });
}
