import type { ErrorCode } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";

/** A call of a MemoryOrigin, for rules and the log. */
export interface MemoryCall {
  readonly kind: "fetch" | "stat" | "list" | "statBucket";
  readonly url: string;
  /** 0 for all but fetch. */
  readonly offset: number;
  /** As requested, which may reach past the object's end; 0 for all but fetch. */
  readonly length: number;
  readonly version: string | undefined;
}

/** A fault of a call. Times are the Clock's. */
export interface MemoryFault {
  /** Before the answer. */
  readonly latencyMs?: number;
  /** The call fails with this code. */
  readonly error?: ErrorCode;
  /** After this many bytes a longer body fails with UNAVAILABLE, or never moves again. */
  readonly body?: { readonly afterBytes: number; readonly how: "break" | "stall" };
  /** Pause before each chunk of the body. */
  readonly chunkDelayMs?: number;
}

/** A fault with the calls that it applies to. */
export interface MemoryFaultRule extends MemoryFault {
  /** Default: every call. */
  readonly when?: (call: MemoryCall) => boolean;
  /** The number of matching calls. Default: all. */
  readonly times?: number;
}

/** Answers that a test holds until it releases them. */
export interface Hold {
  /** Calls that wait now. */
  readonly held: number;
  /** Resolves when this number of calls wait. */
  reached(calls: number): Promise<void>;
  /** Releases the waiting calls, and holds no more. */
  release(): void;
}

/** The faults and holds that a test placed for calls of a MemoryOrigin. */
export class MemoryFaults {
  #rules: { rule: MemoryFaultRule; left: number }[] = [];
  #holds: { when: (call: MemoryCall) => boolean; gate: Gate }[] = [];

  /** Places a fault; the returned function removes it. */
  place(rule: MemoryFaultRule): () => void {
    const placed = { rule, left: rule.times ?? Number.POSITIVE_INFINITY };
    this.#rules.push(placed);
    return () => {
      this.#rules = this.#rules.filter((other) => other !== placed);
    };
  }

  /** Holds the answers to matching calls, by default to all, before their head. */
  hold(when: (call: MemoryCall) => boolean = () => true): Hold {
    const gate = new Gate(() => {
      this.#holds = this.#holds.filter((hold) => hold.gate !== gate);
    });
    this.#holds.push({ when, gate });
    return gate;
  }

  /** Removes all faults and releases all held answers. */
  clear(): void {
    this.#rules = [];
    for (const { gate } of this.#holds) gate.release();
  }

  /** The faults of this call as one; counts them as used. */
  strike(call: MemoryCall): MemoryFault {
    let fault: MemoryFault = {};
    for (const placed of this.#rules) {
      if (placed.left === 0 || placed.rule.when?.(call) === false) continue;
      placed.left--;
      fault = { ...fault, ...placed.rule };
    }
    return fault;
  }

  /** Waits while the call is held; rejects if it is aborted first. */
  async pass(call: MemoryCall, signal: AbortSignal): Promise<void> {
    for (const { when, gate } of this.#holds) if (when(call)) await gate.pass(signal);
  }
}

class Gate implements Hold {
  held = 0;
  readonly #onRelease: () => void;
  #open!: () => void;
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });
  readonly #watchers: { calls: number; resolve: () => void }[] = [];

  constructor(onRelease: () => void) {
    this.#onRelease = onRelease;
  }

  async pass(signal: AbortSignal): Promise<void> {
    this.held++;
    for (const watcher of this.#watchers) if (this.held >= watcher.calls) watcher.resolve();
    try {
      await untilAborted(this.#opened, signal);
    } finally {
      this.held--;
    }
  }

  reached(calls: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.held >= calls) resolve();
      else this.#watchers.push({ calls, resolve });
    });
  }

  release(): void {
    this.#onRelease();
    this.#open();
  }
}
