import { CacheError, type ObjectInfo } from "@frontcache/proto";
import type { ObjectRead, ReadResult } from "../cache/object-read.js";
import type { ReadMeter } from "../metrics/read-meter.js";
import type { ReadRequest } from "../routing/router.js";
import type { Slice } from "../runtime/slice.js";
import type { Reader } from "./reader.js";

/** A reader whose reads are counted. Members that ask what is held here (`cachedOnly`) are no readers: theirs are not. */
export class MeasuredReader implements Reader {
  readonly stat: Reader["stat"];
  readonly list: Reader["list"];
  readonly statBucket: Reader["statBucket"];
  readonly evict: Reader["evict"];
  readonly warm: Reader["warm"];
  readonly warmBlock: Reader["warmBlock"];
  readonly touch: Reader["touch"];
  readonly ownerOf: Reader["ownerOf"];
  readonly watchMembers: Reader["watchMembers"];

  constructor(
    private readonly reader: Reader,
    private readonly meter: ReadMeter,
  ) {
    this.stat = reader.stat.bind(reader);
    this.list = reader.list.bind(reader);
    this.statBucket = reader.statBucket.bind(reader);
    this.evict = reader.evict.bind(reader);
    this.warm = reader.warm.bind(reader);
    this.warmBlock = reader.warmBlock.bind(reader);
    this.touch = reader.touch.bind(reader);
    this.ownerOf = reader.ownerOf.bind(reader);
    this.watchMembers = reader.watchMembers.bind(reader);
  }

  read(request: ReadRequest): ObjectRead | Promise<ObjectRead> {
    if (request.cachedOnly) return this.reader.read(request);
    const { meter } = this;
    const { url } = request.ref;
    const begunMs = meter.nowMs();
    try {
      const opened = this.reader.read(request);
      if (!(opened instanceof Promise)) return new MeasuredRead(opened, meter, url, begunMs, true);
      return opened.then(
        (read) => new MeasuredRead(read, meter, url, begunMs, false),
        (error: unknown) => countFailure(meter, url, error),
      );
    } catch (error) {
      return countFailure(meter, url, error);
    }
  }
}

/** Passes everything through and counts it on its way. */
class MeasuredRead implements ObjectRead {
  readonly info: ObjectInfo;
  readonly offset: number;
  readonly length: number;
  #sent = 0;
  #over = false;

  constructor(
    private readonly read: ObjectRead,
    private readonly meter: ReadMeter,
    private readonly url: string,
    private readonly begunMs: number,
    /** Whether nothing has been waited for. */
    private atOnce: boolean,
  ) {
    this.info = read.info;
    this.offset = read.offset;
    this.length = read.length;
  }

  get result(): ReadResult {
    return this.read.result;
  }

  next(): Slice | undefined | Promise<Slice | undefined> {
    try {
      const found = this.read.next();
      if (!(found instanceof Promise)) return this.#count(found);
      this.atOnce = false;
      return found.then(
        (slice) => this.#count(slice),
        (error: unknown) => this.#fail(error),
      );
    } catch (error) {
      return this.#fail(error);
    }
  }

  close(): void {
    if (!this.#over) {
      this.#over = true;
      this.meter.answered(this.read.result, this.url, this.begunMs, this.#sent);
    }
    this.read.close();
  }

  #count(slice: Slice | undefined): Slice | undefined {
    if (slice === undefined) return undefined;
    const { result } = this.read;
    if (this.#sent === 0) {
      if (this.atOnce) this.meter.firstBytesAtOnce(result);
      else this.meter.firstBytes(result, this.begunMs);
    }
    this.#sent += slice.bytes.length;
    this.meter.sent(result, slice.bytes.length);
    return slice;
  }

  #fail(error: unknown): never {
    if (this.#over) throw error;
    this.#over = true;
    return countFailure(this.meter, this.url, error);
  }
}

function countFailure(meter: ReadMeter, url: string, error: unknown): never {
  const { code, message } = CacheError.from(error);
  meter.failed(url, code, message);
  throw error;
}
