import { CacheError } from "@frontcache/proto";
import { type Backoff, backoffMs } from "@frontcache/proto/runtime";
import type { Clock } from "./clock.js";

export interface CircuitBreakerOptions {
  readonly clock: Clock;
  /** Time that a circuit stays open after consecutive failures. */
  readonly openFor: Backoff;
  /** Probes an address. Settles in bounded time, and immediately when the signal is aborted. */
  readonly probe: (address: string, signal: AbortSignal) => Promise<void>;
  /** Whether an address is probed also if nobody asks for it. Absent: a probe that is due starts with the next call. */
  readonly isWatched?: ((address: string) => boolean) | undefined;
  /** Called with the error of the call when a circuit opens, and without one when it closes again. */
  readonly onChange?: ((address: string, failure: CacheError | undefined) => void) | undefined;
}

/** A circuit that is not closed. */
interface Broken {
  readonly failures: number;
  /** Time of the next probe; undefined: half open, because a probe succeeded and the next call may try. */
  readonly untilMs: number | undefined;
  /** When a probe succeeded last, monotonic milliseconds; -Infinity: none has. */
  readonly answeredAtMs: number;
  /** Cancels the probe that starts without a call. */
  readonly cancel: () => void;
}

const nothing = (): void => {};

/**
 * Tracks which addresses answer. Only calls that run when an address fails are affected: its circuit opens for a while, then a
 * probe in the background tests it, and the next call after a successful probe tries it. This call closes the circuit, or opens
 * it for longer.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  readonly #answering = new Set<string>();
  readonly #broken = new Map<string, Broken>();
  readonly #probes = new Map<string, Promise<void>>();
  readonly #life = new AbortController();

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
  }

  /** Returns whether an address must not be called now. Starts its probe if it is due. */
  isOpen(address: string): boolean {
    if (this.#broken.size === 0) return false;
    const broken = this.#broken.get(address);
    if (broken?.untilMs === undefined) return false;
    this.probeIfDue(address);
    return true;
  }

  /** Returns whether the last call failed, and none has succeeded since. */
  isBroken(address: string): boolean {
    return this.#broken.has(address);
  }

  /** When a probe of an address succeeded last since its circuit opened, monotonic milliseconds; -Infinity: none has. */
  answeredAtMs(address: string): number {
    return this.#broken.get(address)?.answeredAtMs ?? Number.NEGATIVE_INFINITY;
  }

  /** Returns whether the last call or probe of an address got an answer. */
  isAnswering(address: string): boolean {
    return this.#answering.has(address);
  }

  /** Records an answer of an address, possibly an error. */
  succeeded(address: string): void {
    this.#answering.add(address);
    if (this.#broken.size > 0 && this.#drop(address)) this.#options.onChange?.(address, undefined);
  }

  /** Records that an address is unreachable, by the error of a call. Concurrent failures count as one. */
  failed(address: string, error: unknown): void {
    const { clock, openFor, isWatched, onChange } = this.#options;
    this.#answering.delete(address);
    const before = this.#broken.get(address);
    if (before?.untilMs !== undefined && clock.monotonicMs() < before.untilMs) return;
    const failures = (before?.failures ?? 0) + 1;
    const forMs = backoffMs(openFor, failures, () => clock.random());
    before?.cancel();
    const watch = (): void => {
      if (isWatched?.(address) === true) this.probeIfDue(address);
    };
    const cancel = isWatched?.(address) === true && !this.#life.signal.aborted ? clock.after(forMs, watch) : nothing;
    const answeredAtMs = before?.answeredAtMs ?? Number.NEGATIVE_INFINITY;
    this.#broken.set(address, { failures, untilMs: clock.monotonicMs() + forMs, answeredAtMs, cancel });
    if (before === undefined) onChange?.(address, CacheError.from(error));
  }

  /** Probes an address in the background, unless its circuit is open for longer or a probe runs. */
  probeIfDue(address: string): void {
    if (this.#probes.has(address) || this.#life.signal.aborted) return;
    const untilMs = this.#broken.get(address)?.untilMs;
    if (untilMs !== undefined && this.#options.clock.monotonicMs() < untilMs) return;
    const probe = this.#options.probe(address, this.#life.signal).then(
      () => this.#found(address),
      (error: unknown) => this.failed(address, error),
    );
    this.#probes.set(
      address,
      probe.finally(() => this.#probes.delete(address)),
    );
  }

  /** Forgets all other addresses. */
  keepOnly(addresses: ReadonlySet<string | undefined>): void {
    for (const address of this.#answering) if (!addresses.has(address)) this.#answering.delete(address);
    for (const address of this.#broken.keys()) if (!addresses.has(address)) this.#drop(address);
  }

  /** Aborts running probes, and starts no more. */
  async close(): Promise<void> {
    this.#life.abort(new CacheError("CANCELLED", "the connections were closed"));
    for (const { cancel } of this.#broken.values()) cancel();
    await Promise.all(this.#probes.values());
  }

  #found(address: string): void {
    this.#answering.add(address);
    const broken = this.#broken.get(address);
    if (broken === undefined) return;
    broken.cancel();
    this.#broken.set(address, {
      ...broken,
      untilMs: undefined,
      answeredAtMs: this.#options.clock.monotonicMs(),
      cancel: nothing,
    });
  }

  #drop(address: string): boolean {
    this.#broken.get(address)?.cancel();
    return this.#broken.delete(address);
  }
}
