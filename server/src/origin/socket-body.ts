import type { Readable } from "node:stream";
import { abortError, CacheError } from "@frontcache/proto";
import { type Landing, landCopy } from "./landing.js";
import type { OriginBody } from "./origin.js";

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
 * A response's body, exactly `length` bytes of it in all or an error: each chunk is copied from where the parser left it to
 * where it belongs, once. Nothing flows before it is landed.
 */
export class SocketBody implements OriginBody {
  readonly #stream: Readable;
  readonly #length: number;
  readonly #errors: BodyErrors;
  readonly #signal: AbortSignal;
  #received = 0;
  #outcome: "ended" | CacheError | undefined;
  #running: Running | undefined;
  readonly #onAbort = (): void => this.#fail(abortError(this.#signal));

  constructor(stream: Readable, length: number, errors: BodyErrors, signal: AbortSignal) {
    this.#stream = stream;
    this.#length = length;
    this.#errors = errors;
    this.#signal = signal;
    stream.on("error", (cause) => this.#fail(errors.broken(this.#received, cause)));
    stream.on("close", () => this.#fail(errors.broken(this.#received)));
    stream.on("end", () => this.#onEnd());
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  land(landing: Landing): Promise<void> {
    if (this.#outcome === "ended") return Promise.resolve();
    if (this.#outcome !== undefined) return Promise.reject(this.#outcome);
    this.#stream.on("data", (chunk: Buffer) => this.#onData(chunk, landing));
    return new Promise((resolve, reject) => {
      this.#running = { landing, resolve, reject };
    });
  }

  /** The connection is kept where all bytes have come and only the parser's word for it is outstanding. */
  destroy(): void {
    if (this.#received < this.#length) this.#fail(new CacheError("CANCELLED", "the origin's answer was dropped"));
  }

  #onData(chunk: Buffer, landing: Landing): void {
    if (this.#outcome !== undefined) return;
    if (this.#received + chunk.length > this.#length) {
      this.#fail(this.#errors.surplus());
      return;
    }
    this.#received += chunk.length;
    try {
      landCopy(chunk, landing, () => this.#outcome !== undefined);
    } catch (error) {
      this.#fail(CacheError.from(error));
    }
  }

  #onEnd(): void {
    if (this.#received < this.#length) this.#fail(this.#errors.broken(this.#received));
    else if (this.#outcome === undefined) this.#settle("ended")?.resolve();
  }

  #fail(error: CacheError): void {
    if (this.#outcome !== undefined) return;
    const running = this.#settle(error);
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
