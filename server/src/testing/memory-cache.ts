import {
  type BlockId,
  CacheError,
  type LackingHeaders,
  type MemberList,
  type ObjectInfo,
  type ObjectRef,
  outOfRange,
  WarmProgress,
} from "@frontcache/proto";
import type { ObjectRead } from "../cache/object-read.js";
import type {
  BucketInfo,
  BucketList,
  BucketQuestion,
  Listing,
  ListQuestion,
  PassedAnswer,
  PassQuestion,
  WriteAnswer,
} from "../origin/origin.js";
import {
  answeredBy,
  type Cache,
  type EvictQuestion,
  type MemberDirectory,
  type ObjectStat,
  type ReadRequest,
  type StatQuestion,
  type WarmBlockQuestion,
  type WarmQuestion,
} from "../routing/cache.js";
import type { FileBytes, Slice } from "../runtime/slice.js";
import type { WriteQuestion } from "../writes/write-through.js";
import { textAnswer } from "./origin/requests.js";

/**
 * The fake of Cache and MemberDirectory: objects in memory, all of one version. It counts open reads and slices, and
 * overwrites every slice's bytes when it is released, as reused memory would be.
 */
export class MemoryCache implements Cache, MemberDirectory {
  readonly objects = new Map<string, Buffer>();
  /** The version of every object. A read or `stat` of another version fails with FAILED_PRECONDITION. */
  version = "v1";
  contentType: string | undefined = "text/plain";
  lastModifiedMs: number | undefined;
  /** Additional headers of every object. */
  headers: string | undefined;
  /** Headers that reads lack, in contrast to the answers to `stat`. */
  readsLack: LackingHeaders | undefined;
  /** Whether reads include type and date, like reads of cached blocks. */
  describesReads = false;
  /** Whether slices use scarce memory. */
  scarce = false;
  /** Returns the file with the bytes of a slice. Absent: slices have no files. */
  fileOf: ((ref: ObjectRef, offset: number) => FileBytes) | undefined;
  /** Bytes of a slice. */
  sliceBytes = 1 << 20;
  /** Runs before `next` answers with the slice at this offset. */
  beforeSlice: ((offset: number, signal: AbortSignal) => Promise<void> | void) | undefined;
  /** Runs before every answer. */
  beforeAnswer: ((signal: AbortSignal | undefined) => Promise<void> | void) | undefined;
  /** Runs before every answer to `stat`. */
  beforeStat: ((signal: AbortSignal) => Promise<void> | void) | undefined;
  /** Runs after every answer to `stat`. */
  afterStat: (() => void) | undefined;
  /** Where the bytes of reads come from, and how old the record is. */
  origin: Pick<ObjectRead, "result" | "ageMs" | "forwarded"> = { result: "hit" };
  /** How fresh the records are that answer `stat`. */
  statFreshness: Pick<ObjectStat, "isStale" | "ageMs"> = {};
  readonly requests: ReadRequest[] = [];
  readonly stats: StatQuestion[] = [];
  readonly lists: ListQuestion[] = [];
  readonly evictions: EvictQuestion[] = [];
  readonly warmings: WarmQuestion[] = [];
  readonly warmedBlocks: WarmBlockQuestion[] = [];
  readonly touched: BlockId[] = [];
  readonly passed: PassQuestion[] = [];
  /** Answers passed requests; by default each with the question's URL. */
  readonly written: WriteQuestion[] = [];
  /** Answers writes; by default as S3 answers a DELETE. The bodies of writes are not read. */
  writeAnswer = async (_question: WriteQuestion): Promise<WriteAnswer> => ({ status: 204, headers: [], body: Buffer.alloc(0) });
  passedAnswer = ({ ref }: PassQuestion): PassedAnswer => textAnswer(ref.url);
  readonly memberListeners = new Set<(list: MemberList) => void>();
  /** The list that `watchMembers` begins with. */
  memberList: MemberList = { members: [], hash: "", blockBytes: 1, name: "self" };
  /** Every page of a listing. A bucket exists if it has an object. */
  listing: Listing = { objects: [], prefixes: [] };
  /** The answer to a question for all buckets. */
  bucketList: BucketList = { buckets: [] };
  /** The region of every bucket. */
  region: string | undefined;
  openReads = 0;
  openSlices = 0;
  slicesGiven = 0;

  readonly ask: Cache["ask"] = answeredBy({
    stat: (question) => this.#stat(question),
    list: async (question) => {
      await this.#statBucket(question);
      this.lists.push(question);
      return this.listing;
    },
    statBucket: (question) => this.#statBucket(question),
    listBuckets: async (question) => {
      await this.beforeAnswer?.(question.signal);
      return this.bucketList;
    },
    pass: async (question) => {
      await this.beforeAnswer?.(question.signal);
      this.passed.push(question);
      return this.passedAnswer(question);
    },
    write: async (question) => {
      await this.beforeAnswer?.(question.signal);
      this.written.push(question);
      return this.writeAnswer(question);
    },
    evict: async (question) => {
      await this.beforeAnswer?.(question.signal);
      this.evictions.push(question);
      return { blocks: 2, bytes: 3 };
    },
    warm: async (question) => {
      this.warmings.push(question);
      for (const { ref } of question.objects) {
        await this.beforeAnswer?.(question.signal);
        await question.report(WarmProgress.fromPartial({ key: ref.url, ended: true }));
      }
      return undefined;
    },
    warmBlock: async (question) => {
      this.warmedBlocks.push(question);
      await this.beforeAnswer?.(question.signal);
      const objectSize = this.#find(question.ref).length;
      return { version: question.version ?? this.version, objectSize, cachedBytes: 1, fetchedBytes: 2 };
    },
    touch: async ({ blocks }) => {
      this.touched.push(...blocks);
      return blocks.length;
    },
  });

  open(request: ReadRequest): ObjectRead | Promise<ObjectRead> {
    this.requests.push(request);
    const first = this.beforeAnswer?.(request.signal);
    return first === undefined ? this.#open(request) : first.then(() => this.#open(request));
  }

  ownersOf(ref: ObjectRef): readonly string[] {
    void this.beforeAnswer?.(undefined);
    return [`${ref.bucket}:8080`, `${ref.bucket}-2:8080`];
  }

  watchMembers(listener: (list: MemberList) => void): () => void {
    this.memberListeners.add(listener);
    listener(this.memberList);
    return () => this.memberListeners.delete(listener);
  }

  async #stat(question: StatQuestion): Promise<ObjectStat> {
    this.stats.push(question);
    await this.beforeStat?.(question.signal);
    await this.beforeAnswer?.(question.signal);
    const { length } = this.#find(question.ref);
    this.#checkVersion(question.version);
    const answer = {
      info: this.#described({ version: this.version, objectSize: length }),
      cachedBytes: length,
      ...this.statFreshness,
    };
    this.afterStat?.();
    return answer;
  }

  async #statBucket({ ref, signal }: BucketQuestion | ListQuestion): Promise<BucketInfo> {
    await this.beforeAnswer?.(signal);
    const exists = [...this.objects.keys()].some((name) => name.startsWith(`${ref.scheme}://${ref.bucket}/`));
    if (!exists) throw new CacheError("NOT_FOUND", `${ref.url}: no such bucket`);
    return { region: this.region };
  }

  #find(ref: ObjectRef): Buffer {
    const bytes = this.objects.get(ref.url);
    if (bytes === undefined) throw new CacheError("NOT_FOUND", `${ref.url}: no such object`);
    return bytes;
  }

  #checkVersion(version: string | undefined): void {
    if (version === undefined || version === this.version) return;
    throw new CacheError("FAILED_PRECONDITION", `the object's version is ${this.version}`);
  }

  #described(info: ObjectInfo): ObjectInfo {
    const { contentType, lastModifiedMs, headers } = this;
    return {
      ...info,
      ...(headers !== undefined && { headers }),
      ...(lastModifiedMs !== undefined && { lastModifiedMs }),
      ...(contentType !== undefined && { contentType }),
    };
  }

  #infoOfRead(info: ObjectInfo): ObjectInfo {
    const { headers: _, ...described } = this.describesReads ? this.#described(info) : info;
    if (this.readsLack !== undefined) return { ...described, lacks: this.readsLack };
    return this.describesReads ? this.#described(info) : info;
  }

  #open({ ref, offset, length, version, signal }: ReadRequest): ObjectRead {
    this.#checkVersion(version);
    const bytes = this.#find(ref);
    if (offset >= bytes.length && offset + length > 0) throw outOfRange(ref.url, offset, bytes.length);
    const end = length === 0 ? bytes.length : Math.min(bytes.length, offset + length);
    let at = offset;
    let open = true;
    this.openReads++;
    const take = (): Slice | undefined => {
      if (at === end) return undefined;
      const slice = this.#give(bytes.subarray(at, Math.min(end, at + this.sliceBytes)), this.fileOf?.(ref, at));
      at += slice.bytes.length;
      return slice;
    };
    const info = { version: this.version, objectSize: bytes.length };
    return {
      info: this.#infoOfRead(info),
      offset,
      length: end - offset,
      ...this.origin,
      next: () => {
        const before = at === end ? undefined : this.beforeSlice?.(at, signal);
        return before === undefined ? take() : before.then(take);
      },
      close: () => {
        if (open) this.openReads--;
        open = false;
      },
    };
  }

  #give(source: Buffer, file: FileBytes | undefined): Slice {
    const bytes = Buffer.from(source);
    let given = true;
    this.openSlices++;
    this.slicesGiven++;
    return {
      bytes,
      scarce: this.scarce,
      file,
      release: () => {
        if (!given) throw new Error("a slice was released twice");
        given = false;
        this.openSlices--;
        bytes.fill(0xee);
      },
    };
  }
}
