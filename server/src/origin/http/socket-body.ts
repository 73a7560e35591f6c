import type { Readable } from "node:stream";
import { abortError, CacheError } from "@frontcache/proto";
import { type Landing, landCopy, type OriginBody } from "../origin.js";
import type { ParserBypass } from "./parser-bypass.js";
import { bypassOf } from "./socket-reads.js";

/** Where nothing is read any more, since the connection is closed. */
const NOWHERE = Buffer.alloc(1);

/** How a body that is not what its head promised is told. */
export interface BodyErrors {
  /** The connection broke or was closed after `received` bytes; the cause where there is one. */
  broken(received: number, cause?: unknown): CacheError;
  /** More bytes came than promised. */
  surplus(): CacheError;
}

/** A landing under way. */
interface Running {
  readonly landing: Landing;
  resolve(): void;
  reject(error: CacheError): void;
}

/**
 * A response's body, exactly `length` bytes of it in all or an error: by its bypass, or else each chunk is copied from where
 * the parser left it to where it belongs. Nothing flows before it is landed.
 */
export class SocketBody implements OriginBody {
  readonly #stream: Readable;
  readonly #length: number;
  readonly #errors: BodyErrors;
  readonly #signal: AbortSignal;
  readonly #bypass: ParserBypass | undefined;
  #received = 0;
  #outcome: "ended" | CacheError | undefined;
  #running: Running | undefined;
  readonly #onAbort = (): void => this.#fail(abortError(this.#signal));

  constructor(stream: Readable, length: number, errors: BodyErrors, signal: AbortSignal) {
    this.#stream = stream;
    this.#length = length;
    this.#errors = errors;
    this.#signal = signal;
    this.#bypass = bypassOf(stream);
    stream.on("error", (cause) => this.#fail(errors.broken(this.#received, cause)));
    stream.on("close", () => this.#fail(errors.broken(this.#received)));
    stream.on("end", () => this.#onEnd());
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  land(landing: Landing): Promise<void> {
    if (this.#outcome === "ended") return Promise.resolve();
    if (this.#outcome !== undefined) return Promise.reject(this.#outcome);
    const landed = new Promise<void>((resolve, reject) => {
      this.#running = { landing, resolve, reject };
    });
    this.#try(() => this.#flow(landing));
    return landed;
  }

  /** The connection is kept where all bytes have come and only the parser's word for it is outstanding. */
  destroy(): void {
    if (this.#received < this.#length) this.#fail(new CacheError("CANCELLED", "the origin's answer was dropped"));
  }

  #flow(landing: Landing): void {
    if (this.#bypass === undefined) {
      this.#stream.on("data", (chunk: Buffer) => this.#onData(chunk, landing));
      return;
    }
    const room = (): Buffer => this.#try(() => landing.room()) ?? NOWHERE;
    const landed = (bytes: number): void => {
      this.#received += bytes;
      this.#try(() => landing.landed(bytes));
    };
    this.#bypass.land({ room, landed });
    this.#stream.resume(); // to its end
  }

  #onData(chunk: Buffer, landing: Landing): void {
    if (this.#outcome !== undefined) return;
    if (this.#received + chunk.length > this.#length) {
      this.#fail(this.#errors.surplus());
      return;
    }
    this.#received += chunk.length;
    this.#try(() => landCopy(chunk, landing, () => this.#outcome !== undefined));
  }

  /** What the landing throws ends the body. */
  #try<Result>(act: () => Result): Result | undefined {
    try {
      return act();
    } catch (error) {
      this.#fail(CacheError.from(error));
      return undefined;
    }
  }

  #onEnd(): void {
    if (this.#received < this.#length) this.#fail(this.#errors.broken(this.#received));
    else if (this.#outcome === undefined) this.#settle("ended")?.resolve();
  }

  #fail(error: CacheError): void {
    if (this.#outcome !== undefined) return;
    const running = this.#settle(error);
    this.#bypass?.cut();
    this.#stream.destroy();
    running?.reject(error);
  }

  /** Returns the landing to be told. */
  #settle(outcome: "ended" | CacheError): Running | undefined {
    this.#outcome = outcome;
    this.#signal.removeEventListener("abort", this.#onAbort);
    const running = this.#running;
    this.#running = undefined;
    return running;
  }
}
