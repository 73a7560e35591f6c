/** Of each signal that calls obey now or did once: no entry keeps its signal alive. */
const listeners = new WeakMap<AbortSignal, SharedListener>();

/**
 * Calls `onAbort` once when the signal, which is not aborted yet, is; the returned function takes it away. However many wait, the
 * signal has one listener, and none when nobody waits: what its owner set up to find leaks of his own goes on telling of them.
 */
export function whenAborted(signal: AbortSignal, onAbort: () => void): () => void {
  let listener = listeners.get(signal);
  if (listener === undefined) {
    listener = new SharedListener(signal);
    listeners.set(signal, listener);
  }
  return listener.add(onAbort);
}

class SharedListener {
  readonly #waiting = new Set<() => void>();

  constructor(private readonly signal: AbortSignal) {}

  /** `onAbort` must be one that does not wait yet, and must not throw. */
  add(onAbort: () => void): () => void {
    if (this.#waiting.size === 0) this.signal.addEventListener("abort", this.#abort);
    this.#waiting.add(onAbort);
    return () => {
      if (this.#waiting.delete(onAbort) && this.#waiting.size === 0) this.#leave();
    };
  }

  readonly #abort = (): void => {
    this.#leave();
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const onAbort of waiting) onAbort();
  };

  #leave(): void {
    this.signal.removeEventListener("abort", this.#abort);
  }
}
