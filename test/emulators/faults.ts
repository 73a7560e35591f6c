import type { IncomingHttpHeaders } from "node:http";

/** A request, for faults, logs and tests. */
export interface SeenRequest {
  readonly method: string;
  readonly bucket: string;
  /** Decoded once; empty for requests of the bucket. */
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
}

/** Where a request may be held: before its body is read, when its body is there, or when it is done but not answered. */
export type HoldPoint = "head" | "body" | "answer";

/** Holds one request at a point, until it is released or its connection is closed. */
export class Hold {
  readonly at: HoldPoint;
  #reach!: () => void;
  #release!: () => void;
  #end!: () => void;
  /** Resolves when the request is held. */
  readonly reached = new Promise<void>((resolve) => {
    this.#reach = resolve;
  });
  readonly #released = new Promise<void>((resolve) => {
    this.#release = resolve;
  });
  /** Resolves when the request is answered, or its connection closed. */
  readonly ended = new Promise<void>((resolve) => {
    this.#end = resolve;
  });

  constructor(at: HoldPoint) {
    this.at = at;
  }

  release(): void {
    this.#release();
  }

  /** The request is answered, or its connection closed. */
  end(): void {
    this.#end();
  }

  /** Resolves when it is released. */
  async pass(): Promise<void> {
    this.#reach();
    await this.#released;
  }
}

/** The faults of a response. They may be combined. */
export interface Fault {
  /** Delay before the response header, milliseconds. */
  readonly latencyMs?: number | (() => number);
  /** Limits the rate of the body. A connection carries one response at a time, so this is per connection. */
  readonly bytesPerSecond?: number;
  /** An error response with the store's error code. */
  readonly error?: { readonly status: number; readonly code: string; readonly headers?: Record<string, string> };
  /** A successful response that is a web page, as from a proxy. */
  readonly page?: string;
  /** Resets the connection before the response header. */
  readonly reset?: boolean;
  /** Does what the request says, then resets the connection in place of the response header. */
  readonly lostAnswer?: boolean;
  /** Holds the request at a point of its way. */
  readonly hold?: Hold;
  /** Receives this many bytes of the request's body, then resets the connection. */
  readonly resetInBody?: number;
  /** After this many bytes of a longer body, the connection is reset, closed, or stalls. */
  readonly body?: { readonly afterBytes: number; readonly how: "reset" | "close" | "stall" };
  /** The range is ignored (200, whole object), its header is wrong, or the body is one byte shorter or longer than announced. */
  readonly range?: "ignored" | "wrong" | "short" | "long";
  /** Additional headers of a successful response. */
  readonly headers?: Record<string, string>;
  /** The response has no version; or it ignores conditions and has a wrong version. */
  readonly version?: "missing" | "foreign";
}

/** A fault and the requests that it applies to. */
export interface FaultRule extends Fault {
  /** Default: every request. */
  readonly when?: (request: SeenRequest) => boolean;
  /** Number of matching requests that it applies to. Default: all. */
  readonly times?: number;
}

/** The active faults of an emulator. */
export class Faults {
  #rules: { rule: FaultRule; left: number }[] = [];

  /** Adds a fault; the returned function removes it. */
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

  /** Returns the combined faults of a request, and counts them as used. */
  apply(request: SeenRequest): Fault {
    let fault: Fault = {};
    for (const placed of this.#rules) {
      if (placed.left === 0 || placed.rule.when?.(request) === false) continue;
      placed.left--;
      fault = { ...fault, ...placed.rule };
    }
    return fault;
  }
}
