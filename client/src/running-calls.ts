import { CacheError } from "@frontcache/proto";
import { type Linked, LinkedList } from "@frontcache/proto/runtime";
import type { Clock } from "./members/clock.js";
import { RunningCall } from "./members/running-call.js";

/** A call until its work has settled. */
interface Running extends Linked<Running> {
  readonly call: RunningCall;
  readonly done: Promise<unknown>;
}

/** The options of a call that concern its end. */
interface CallEnd {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; undefined: no deadline. */
  readonly deadlineMs?: number | undefined;
}

/** The running calls of a client. Closing aborts all of them, and waits for their work. */
export class RunningCalls {
  readonly #clock: Clock;
  readonly #running = new LinkedList<Running>();
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Begins a call whose messages start with `subject`. The caller ends it. Throws CANCELLED if the client is closed. */
  begin(subject: string, { signal, deadlineMs }: CallEnd): RunningCall {
    if (this.#isClosed) throw new CacheError("CANCELLED", `${subject}: the client is closed`);
    return new RunningCall({ clock: this.#clock, subject, signal, deadlineMs });
  }

  /** Runs work within a call of its own, and ends the call. */
  run<Result>(subject: string, end: CallEnd, work: (call: RunningCall) => Promise<Result>): Promise<Result> {
    return this.#track(this.begin(subject, end), work);
  }

  /** Keeps a call that ends by itself, until `done` has settled. */
  keep(call: RunningCall, done: Promise<void>): void {
    const running: Running = { call, done };
    this.#running.add(running);
    void done.then(() => this.#running.delete(running));
  }

  /** Aborts all calls with CANCELLED; resolves when their work has settled. No call begins afterwards. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const closing: Promise<unknown>[] = [];
    for (let running = this.#running.shift(); running !== undefined; running = this.#running.shift()) {
      running.call.abort(new CacheError("CANCELLED", "the client was closed"));
      closing.push(running.done);
    }
    await Promise.allSettled(closing);
  }

  async #track<Result>(call: RunningCall, work: (call: RunningCall) => Promise<Result>): Promise<Result> {
    const working = work(call);
    const running: Running = { call, done: working, previous: undefined, next: undefined };
    this.#running.add(running);
    try {
      return await working;
    } catch (error) {
      throw withCaller(error);
    } finally {
      call.end();
      this.#running.delete(running);
    }
  }
}

/** Errors whose stacks already contain the caller's frames. */
const traced = new WeakSet<object>();

/**
 * Adds the caller's frames to the stack of an error. The error was created when the response arrived, so its stack lacks them.
 * Successful calls cost nothing: V8 finds the awaiting functions when the stack is captured.
 */
function withCaller(error: unknown): unknown {
  if (!(error instanceof CacheError) || traced.has(error)) return error;
  traced.add(error);
  const frames = new Error("the call").stack?.split("\n").slice(2) ?? [];
  error.stack = [error.stack ?? `${error.name}: ${error.message}`, ...frames].join("\n");
  return error;
}
