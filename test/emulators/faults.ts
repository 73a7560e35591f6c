import type { IncomingHttpHeaders } from "node:http";

/** A request as rules, logs and tests see it. */
export interface SeenRequest {
  readonly method: string;
  readonly bucket: string;
  /** Decoded once; empty for requests of the bucket. */
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
}

/** What goes wrong with an answer. The parts may be combined. */
export interface Fault {
  /** Waits so long before the answer's head. */
  readonly latencyMs?: number | (() => number);
  /** Paces the body; a connection carries one answer at a time, so this is per connection. */
  readonly bytesPerSecond?: number;
  /** An error instead of the answer, by the store's own code. */
  readonly error?: { readonly status: number; readonly code: string; readonly headers?: Record<string, string> };
  /** A success with a web page instead of the answer, as a proxy sends it. */
  readonly page?: string;
  /** The connection is reset before the head. */
  readonly reset?: boolean;
  /** After so many bytes of a longer body the connection is reset, or closed in good order, or never moves again. */
  readonly body?: { readonly afterBytes: number; readonly how: "reset" | "close" | "stall" };
  /** The range is ignored (200, whole object), named wrongly, or the body is one byte shorter or longer than named. */
  readonly range?: "ignored" | "wrong" | "short" | "long";
  /** Further headers of a good answer. */
  readonly headers?: Record<string, string>;
  /** The answer names no version; or conditions are ignored and a version is named that isn't the object's. */
  readonly version?: "missing" | "foreign";
}

/** A fault with the requests that it strikes. */
export interface FaultRule extends Fault {
  /** Default: every request. */
  readonly when?: (request: SeenRequest) => boolean;
  /** How many matching requests it strikes. Default: all. */
  readonly times?: number;
}

/** Faults placed by a test. */
export class Faults {
  #rules: { rule: FaultRule; left: number }[] = [];

  /** Places a fault; the returned function takes it away. */
  place(rule: FaultRule): () => void {
    const placed = { rule, left: rule.times ?? Number.POSITIVE_INFINITY };
    this.#rules.push(placed);
    return () => {
      this.#rules = this.#rules.filter((other) => other !== placed);
    };
  }

  clear(): void {
    this.#rules = [];
  }

  /** The faults that strike this request, in one; counts them as used. */
  strike(request: SeenRequest): Fault {
    let fault: Fault = {};
    for (const placed of this.#rules) {
      if (placed.left === 0 || placed.rule.when?.(request) === false) continue;
      placed.left--;
      fault = { ...fault, ...placed.rule };
    }
    return fault;
  }
}
