import type { CacheReport } from "@frontcache/client/members";
import { CacheError, type ObjectInfo } from "@frontcache/proto";
import type { ObjectRead, ReadResult } from "../cache/object-read.js";
import type { ReadMeter } from "../metrics/read-meter.js";
import type { Cache } from "../routing/cache.js";
import { lengthOf, type Slice } from "../runtime/slice.js";

/** Counts the reads of clients. Cached-only reads of other members are not counted. */
export function measured(meter: ReadMeter): (next: Cache) => Cache {
  return (next) => ({
    open(request) {
      if (request.cachedOnly) return next.open(request);
      const { url } = request.ref;
      const begunMs = meter.nowMs();
      try {
        const opened = next.open(request);
        if (!(opened instanceof Promise)) return new MeasuredRead(opened, meter, url, begunMs, true);
        return opened.then(
          (read) => new MeasuredRead(read, meter, url, begunMs, false),
          (error: unknown) => countFailure(meter, url, error),
        );
      } catch (error) {
        return countFailure(meter, url, error);
      }
    },
    ask: (question) => next.ask(question),
  });
}

/** Passes all slices through and counts them. */
class MeasuredRead implements ObjectRead {
  readonly #read: ObjectRead;
  readonly #meter: ReadMeter;
  readonly #url: string;
  readonly #begunMs: number;
  /** Whether all bytes so far were available immediately. */
  #atOnce: boolean;

  readonly info: ObjectInfo;
  readonly offset: number;
  readonly length: number;
  #sent = 0;
  #over = false;

  constructor(read: ObjectRead, meter: ReadMeter, url: string, begunMs: number, atOnce: boolean) {
    this.#read = read;
    this.#meter = meter;
    this.#url = url;
    this.#begunMs = begunMs;
    this.#atOnce = atOnce;
    this.info = read.info;
    this.offset = read.offset;
    this.length = read.length;
  }

  get result(): ReadResult {
    return this.#read.result;
  }

  get ageMs(): number | undefined {
    return this.#read.ageMs;
  }

  get forwarded(): CacheReport | undefined {
    return this.#read.forwarded;
  }

  next(mayPipe?: boolean): Slice | undefined | Promise<Slice | undefined> {
    try {
      const found = this.#read.next(mayPipe);
      if (!(found instanceof Promise)) return this.#count(found);
      this.#atOnce = false;
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
      this.#meter.answered(this.#read.result, this.#url, this.#begunMs, this.#sent);
    }
    this.#read.close();
  }

  #count(slice: Slice | undefined): Slice | undefined {
    if (slice === undefined) return undefined;
    const { result } = this.#read;
    if (this.#sent === 0) {
      if (this.#atOnce) this.#meter.firstBytesAtOnce(result);
      else this.#meter.firstBytes(result, this.#begunMs);
    }
    const bytes = lengthOf(slice);
    this.#sent += bytes;
    this.#meter.sent(result, bytes);
    return slice;
  }

  #fail(error: unknown): never {
    if (this.#over) throw error;
    this.#over = true;
    return countFailure(this.#meter, this.#url, error);
  }
}

function countFailure(meter: ReadMeter, url: string, error: unknown): never {
  const { code, message } = CacheError.from(error);
  meter.failed(url, code, message);
  throw error;
}
