import { StallGuard, type StallGuardOptions } from "../silence-watch.js";
import { type CallLimits, Unreachable } from "../transport.js";
import { AnswerLanding, type AnswerTo } from "./answer-landing.js";
import type { HttpConnection } from "./connection.js";
import type { ConnectionPool, PooledCall } from "./connection-pool.js";

/** What is read from; one object for all reads, since a small read notices every other one that is made for it. */
export interface Gateway {
  readonly pool: ConnectionPool;
  /** How a gateway is found gone that says nothing any more. */
  readonly stalls: StallGuardOptions;
}

/** What a read works with. */
export interface ReadOn {
  readonly gateway: Gateway;
  readonly limits: CallLimits;
}

/** Runs one request until its answer has landed. Rejects with a CacheError; nothing of it happens afterwards. */
export function runRead(request: string, to: AnswerTo, on: ReadOn): Promise<void> {
  return new Promise((resolve, reject) => {
    if (on.limits.ended !== undefined) reject(on.limits.ended);
    else new RunningRead(request, to, on, { resolve, reject });
  });
}

interface Settle {
  resolve(): void;
  reject(error: unknown): void;
}

class RunningRead implements PooledCall {
  landing: AnswerLanding;
  #connection: HttpConnection | undefined;
  #guard: StallGuard | undefined;
  readonly #forgetLimits: () => void;

  constructor(
    readonly request: string,
    private readonly to: AnswerTo,
    private readonly on: ReadOn,
    private readonly settle: Settle,
  ) {
    this.landing = new AnswerLanding(to);
    this.#forgetLimits = on.limits.onEnd(() => this.#onEnded());
    on.gateway.pool.run(this);
  }

  onStart(connection: HttpConnection): void {
    this.#connection = connection;
    this.#guard = new StallGuard(this.on.gateway.stalls, () => this.#onStalled(connection));
  }

  onBytes(): void {
    this.#guard?.progress();
  }

  onComplete(): void {
    this.#end();
    const { failure } = this.landing;
    if (failure === undefined) this.settle.resolve();
    else this.settle.reject(failure);
  }

  onRefused(error: unknown): void {
    this.#end();
    this.settle.reject(error);
  }

  onBroken(cause: Error | undefined): void {
    const closedBefore = this.#connection?.used === true && !this.landing.begun;
    if (closedBefore) {
      this.#guard?.end();
      this.#connection = undefined;
      this.on.gateway.pool.runAfresh(this);
    } else {
      this.#end();
      this.settle.reject(this.#outOfReach(cause));
    }
  }

  /** The call ended early. */
  #onEnded(): void {
    this.#end();
    if (this.#connection === undefined) this.on.gateway.pool.forget(this);
    else this.#connection.close();
    this.settle.reject(this.on.limits.ended);
  }

  #onStalled(connection: HttpConnection): void {
    this.#end();
    connection.close();
    this.settle.reject(this.#outOfReach(new Error("it fell silent and can't be found any more")));
  }

  #end(): void {
    this.#guard?.end();
    this.#forgetLimits();
  }

  #outOfReach(cause: Error | undefined): Unreachable {
    const { request, member } = this.to;
    const why = cause?.message ?? "it closed the connection";
    return new Unreachable(`${request.url}: the gateway ${member} is out of reach: ${why}`, { cause });
  }
}
