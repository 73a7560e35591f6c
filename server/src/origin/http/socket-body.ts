import type { Readable } from "node:stream";
import { abortError, CacheError } from "@frontcache/proto";
import { whenAborted } from "@frontcache/proto/runtime";
import { type Landing, landCopy, type OriginBody } from "../origin.js";
import type { ParserBypass } from "./parser-bypass.js";
import { bypassOf } from "./socket-reads.js";

/** The room of a body that has failed: its connection is closed, so nothing is read. */
const NOWHERE = Buffer.alloc(1);

/** The errors of a body that is not as its head says. */
export interface BodyErrors {
  /** The connection ended after `received` bytes. */
  broken(received: number, cause?: unknown): CacheError;
  /** More bytes arrived than the head says. */
  surplus(): CacheError;
}

/** A `land` that has not settled. */
interface Running {
  readonly landing: Landing;
  resolve(): void;
  reject(error: CacheError): void;
}

/**
 * The body of a response: exactly `length` bytes, or an error. The bytes bypass the parser if they can; otherwise each chunk of the
 * parser is copied into the landing. Nothing is read before `land`.
 */
export class SocketBody implements OriginBody {
  readonly #stream: Readable;
  readonly #length: number;
  readonly #errors: BodyErrors;
  readonly #bypass: ParserBypass | undefined;
  #received = 0;
  #outcome: "ended" | CacheError | undefined;
  #running: Running | undefined;
  #removeAbort: (() => void) | undefined;

  constructor(stream: Readable, length: number, errors: BodyErrors, signal: AbortSignal) {
    this.#stream = stream;
    this.#length = length;
    this.#errors = errors;
    this.#bypass = bypassOf(stream);
    stream.on("error", (cause) => this.#fail(errors.broken(this.#received, cause)));
    stream.on("close", () => this.#fail(errors.broken(this.#received)));
    stream.on("end", () => this.#onEnd());
    this.#removeAbort = whenAborted(signal, () => this.#fail(abortError(signal)));
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

  /** If all bytes have arrived, the connection is kept: only the parser has not reported the end yet. */
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

  /** An error of the landing ends the body. */
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

  /** Returns the running `land`, to be settled by the caller. */
  #settle(outcome: "ended" | CacheError): Running | undefined {
    this.#outcome = outcome;
    this.#removeAbort?.();
    const running = this.#running;
    this.#running = undefined;
    return running;
  }
}
