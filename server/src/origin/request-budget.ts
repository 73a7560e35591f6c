import { abortError, CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";

/** Requests that one read of one block may send to its origin while none succeeds. */
export const MAX_REQUESTS = 6;
/** Of these, what the member sends that a read reaches first. */
const FIRST_REQUESTS = 4;
/**
 * What is kept for the case that a member is lost: nobody knows then how many of its requests it has sent. A read of a version has one
 * request less, because the question counts whose answer was the version.
 */
const KEPT_REQUESTS = MAX_REQUESTS - FIRST_REQUESTS;

/** A read for which origins are asked. */
export interface BudgetedRead {
  /** One request counts for the question whose answer was the version. Undefined: the current version is read. */
  readonly version: string | undefined;
  /** Another member may have asked the origin for this read before. Absent: no. */
  readonly isRepeated?: boolean | undefined;
  /** How many requests the member allows that forwards the read. Absent: as many as any. */
  readonly originRequests?: number | undefined;
}

/** The requests that a read may send from the member that it reaches. */
export function mostRequests({ version, isRepeated = false, originRequests = MAX_REQUESTS }: BudgetedRead): number {
  return Math.min(isRepeated ? keptRequests(version) : FIRST_REQUESTS, originRequests);
}

/** The budget of a read at the member that it reaches. */
export function requestBudget(read: BudgetedRead): RequestBudget {
  const isFirst = read.isRepeated !== true && read.originRequests === undefined;
  return new RequestBudget(mostRequests(read), isFirst ? keptRequests(read.version) : 0);
}

/**
 * The budget of the question for a record, which a read must ask before it can request bytes: one request is left for these. Absent: no
 * read needs the record.
 */
export function questionBudget(read: RequestBudget | undefined): RequestBudget {
  if (read === undefined) return requestBudget({ version: undefined });
  return new RequestBudget(Math.max(1, read.left - 1), read.kept);
}

function keptRequests(version: string | undefined): number {
  return KEPT_REQUESTS - (version === undefined ? 0 : 1);
}

/**
 * Bounds the requests of one read of one block: its parts, their repetitions and resumed bodies, hedges, redirects and questions share
 * it. A request takes one and returns it when it succeeds, so that only failed and running requests count. If running requests have
 * taken the rest, the next one waits for their outcome.
 */
export class RequestBudget {
  #left: number;
  #kept: number;
  #running = 0;
  #failures = 0;
  #lost = 0;
  #lastFailure: CacheError | undefined;
  #isClosed = false;
  /** Made for the first request that waits: few do. */
  #waiting: Set<() => void> | undefined;

  /** `kept`: requests that may be sent besides if a member is lost. */
  constructor(requests: number, kept = 0) {
    this.#left = requests;
    this.#kept = kept;
  }

  /** Requests that may start, beside the running ones. */
  get left(): number {
    return this.#left;
  }

  /** Requests that may start when a member is lost. */
  get kept(): number {
    return this.#kept;
  }

  /** Requests that failed. */
  get failures(): number {
    return this.#failures;
  }

  /** Requests that a member may have sent that was lost. */
  get lost(): number {
    return this.#lost;
  }

  /** The error of a request that is not sent, because the budget is exhausted: that of the last failed request. */
  finalError(url: string): CacheError {
    const error =
      this.#lastFailure ?? new CacheError("UNAVAILABLE", `${url}: the origin was asked as often as one read may ask it`);
    if (error.isOriginTried || !error.retryable) return error;
    const code = error.code === "RESOURCE_EXHAUSTED" ? error.code : "UNAVAILABLE";
    return new CacheError(code, `${error.message} (${this.#failures} attempts)`, { cause: error, isOriginTried: true });
  }

  /** Whether no request may start any more, whatever becomes of the running ones. */
  get isExhausted(): boolean {
    return this.#isClosed || (this.#left === 0 && this.#running === 0);
  }

  /** Permission for one request; undefined: the budget is exhausted. Rejects if the signal is aborted while it waits. */
  acquire(signal: AbortSignal): RequestPermit | undefined | Promise<RequestPermit | undefined> {
    if (this.isExhausted) return undefined;
    if (this.#left > 0) return new RequestBudget.#Permit(this);
    return this.#changed(signal).then(() => this.acquire(signal));
  }

  /**
   * A request has succeeded, and counts all the same: a question that precedes the bytes. If nothing has failed, one request is left for
   * the bytes.
   */
  count(): void {
    if (this.#left > (this.#failures === 0 ? 1 : 0)) this.#left--;
  }

  /** These requests have failed at another member. */
  countFailed(requests: number): void {
    this.#failures += requests;
    this.#left = Math.max(0, this.#left - requests);
  }

  /**
   * A member was lost that may have sent so many requests. What was kept for this case may be sent now; at least one, because no read may
   * fail for the loss of a member. A member that is lost once may count twice: for this member, and for one that asks in its place.
   */
  countLost(requests: number): void {
    if (requests === 0) return;
    this.#lost += requests;
    this.#left = Math.max(1, this.#left - requests + this.#kept);
    this.#kept = 0;
  }

  /** A request has failed. Errors that are answers do not count. */
  failed(error: CacheError): void {
    if (isAnswer(error)) return;
    this.#failures++;
    this.#lastFailure = error;
  }

  /** The read has failed for good: no further request starts. */
  close(error: CacheError): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#lastFailure = error;
    this.#wake();
  }

  static readonly #Permit = class implements RequestPermit {
    readonly #budget: RequestBudget;
    #taken = 0;

    constructor(budget: RequestBudget) {
      this.#budget = budget;
      budget.#running++;
      this.extra();
    }

    extra(): boolean {
      const budget = this.#budget;
      if (budget.#isClosed || budget.#left === 0) return false;
      budget.#left--;
      this.#taken++;
      return true;
    }

    next(): boolean {
      return this.extra() || (!this.#budget.#isClosed && this.#budget.#failures === 0);
    }

    refund(): void {
      this.#end(true);
    }

    answered(): void {
      this.#end(this.#budget.#left === 0 && this.#budget.#failures === 0);
    }

    spend(): void {
      this.#end(false);
    }

    #end(isRefunded: boolean): void {
      if (this.#taken === 0) return;
      if (isRefunded) this.#budget.#left += this.#taken;
      this.#taken = 0;
      this.#budget.#running--;
      this.#budget.#wake();
    }
  };

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        removeAbort();
        resolve();
      };
      this.#waiting ??= new Set();
      this.#waiting.add(wake);
      const removeAbort = whenAborted(signal, () => {
        this.#waiting?.delete(wake);
        reject(abortError(signal));
      });
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) for (const wake of waiting) wake();
  }
}

/**
 * Whether an error says which version is current, that there is none, or where it ends. It answers its own request only: when a later one was due, the
 * object may have been another one.
 */
export function isAnswer({ code }: CacheError): boolean {
  return code === "NOT_FOUND" || code === "FAILED_PRECONDITION" || code === "OUT_OF_RANGE";
}

/** Permission for one request. One of `refund` and `spend` must be called; the first call counts. */
export interface RequestPermit {
  /** Permission for another request on behalf of this one: a hedge, or one that follows a redirect. False: it must not be sent. */
  extra(): boolean;
  /**
   * Permission for the request that this one, which succeeded, preceded: a probe. It counts, but if nothing has failed, one request is left
   * for the bytes. False: it must not be sent.
   */
  next(): boolean;
  /** The request succeeded, or is not needed any more. */
  refund(): void;
  /** The request was answered by an error (`isAnswer`). It counts, but if nothing has failed, one request is left. */
  answered(): void;
  /** The request failed. */
  spend(): void;
}
