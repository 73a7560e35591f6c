import type { ErrorCode } from "@frontcache/proto";
import { untilAborted } from "@frontcache/proto/runtime";

/** A call of a MemoryOrigin, for rules and the log. */
export interface MemoryCall {
  readonly kind: "fetch" | "stat" | "list" | "statBucket" | "listBuckets" | "pass" | "write";
  readonly url: string;
  /** 0 for calls other than fetch. */
  readonly offset: number;
  /** The requested length, possibly past the object's end; 0 for calls other than fetch. */
  readonly length: number;
  readonly version: string | undefined;
}

/** A fault of a call. Times are on the Clock. */
export interface MemoryFault {
  /** Delay before the response. */
  readonly latencyMs?: number;
  /** The call fails with this code. */
  readonly error?: ErrorCode;
  /** After this many bytes a longer body fails with UNAVAILABLE, or stalls. */
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

/** Responses that are delayed until the test releases them. */
export interface Hold {
  /** Number of waiting calls. */
  readonly held: number;
  /** Resolves when this number of calls wait. */
  reached(calls: number): Promise<void>;
  /** Releases the waiting calls, and delays no further ones. */
  release(): void;
}

/** The faults and delays of a MemoryOrigin. */
export class MemoryFaults {
  #rules: { rule: MemoryFaultRule; left: number }[] = [];
  #holds: { when: (call: MemoryCall) => boolean; gate: Gate }[] = [];

  /** Adds a fault; the returned function removes it. */
  place(rule: MemoryFaultRule): () => void {
    const placed = { rule, left: rule.times ?? Number.POSITIVE_INFINITY };
    this.#rules.push(placed);
    return () => {
      this.#rules = this.#rules.filter((other) => other !== placed);
    };
  }

  /** Delays the responses to matching calls, by default to all, before their header. */
  hold(when: (call: MemoryCall) => boolean = () => true): Hold {
    const gate = new Gate(() => {
      this.#holds = this.#holds.filter((hold) => hold.gate !== gate);
    });
    this.#holds.push({ when, gate });
    return gate;
  }

  /** Removes all faults, and releases all delayed responses. */
  clear(): void {
    this.#rules = [];
    for (const { gate } of this.#holds) gate.release();
  }

  /** Returns the combined faults of a call, and counts them as used. */
  strike(call: MemoryCall): MemoryFault {
    let fault: MemoryFault = {};
    for (const placed of this.#rules) {
      if (placed.left === 0 || placed.rule.when?.(call) === false) continue;
      placed.left--;
      fault = { ...fault, ...placed.rule };
    }
    return fault;
  }

  /** Waits while the call is delayed; rejects if it is aborted first. */
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
