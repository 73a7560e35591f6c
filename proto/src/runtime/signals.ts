import { abortError } from "../errors.js";
import { type Linked, LinkedList } from "./linked-list.js";

/** The timers of a clock. */
export interface Timers {
  /** Calls back once after `delayMs`; the returned function cancels. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The shared listener of each signal that has callbacks. An entry does not keep its signal alive. */
const sharedListeners = new WeakMap<AbortSignal, SharedListener>();

/**
 * Calls `callback` once when the signal is aborted: immediately if it is aborted already. The returned function removes the
 * callback. All callbacks of a signal share one listener. Therefore a signal may have any number of callbacks without a warning
 * of Node, and a long-lived signal accumulates nothing. The listener is removed with the last callback, unless it has been added
 * so often that the signal is likely to be waited for again.
 *
 * `callback` must not throw.
 */
export function whenAborted(signal: AbortSignal, callback: () => void): () => void {
  if (signal.aborted) {
    callback();
    return () => undefined;
  }
  if (signal instanceof PlainSignal) return signal.add(callback);
  let listener = sharedListeners.get(signal);
  if (listener === undefined) {
    listener = new SharedListener(signal);
    sharedListeners.set(signal, listener);
  }
  return listener.add(callback);
}

/** One registration of a callback; the same function may be registered several times. */
class Registration implements Linked<Registration> {
  readonly callback: () => void;
  previous: Registration | undefined;
  next: Registration | undefined;

  constructor(callback: () => void) {
    this.callback = callback;
  }
}

/** Calls back in the order of registration. A callback may remove others; these are not called. */
function callAll(registrations: LinkedList<Registration>): void {
  for (let next = registrations.shift(); next !== undefined; next = registrations.shift()) next.callback();
}

/**
 * A signal that was waited for this often belongs to something that lives long, such as a connection. Its listener stays: adding
 * and removing it for each request costs more than all other bookkeeping of a small read.
 */
const OFTEN = 3;

class SharedListener {
  readonly #signal: AbortSignal;
  readonly #registrations = new LinkedList<Registration>();
  #added = 0;
  #isListening = false;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  add(callback: () => void): () => void {
    const registration = new Registration(callback);
    if (!this.#isListening) this.#listen();
    this.#registrations.add(registration);
    return () => {
      const isLast = this.#registrations.delete(registration) && this.#registrations.size === 0;
      if (isLast && this.#added < OFTEN) this.#stop();
    };
  }

  readonly #onAbort = (): void => {
    this.#stop();
    callAll(this.#registrations);
  };

  #listen(): void {
    this.#isListening = true;
    this.#added++;
    this.#signal.addEventListener("abort", this.#onAbort);
  }

  #stop(): void {
    this.#isListening = false;
    this.#signal.removeEventListener("abort", this.#onAbort);
  }
}

/**
 * Settles as `work` does, or rejects with `abortError(signal)` as soon as the signal is aborted. The work itself continues; its
 * later outcome is ignored.
 */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const remove = whenAborted(signal, () => reject(abortError(signal)));
    work.then(
      (value) => {
        remove();
        resolve(value);
      },
      (error: unknown) => {
        remove();
        reject(error);
      },
    );
  });
}

/** Waits `delayMs`. Rejects with `abortError(signal)`, and cancels the timer, if the signal is aborted first. */
export function sleep(timers: Timers, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal === undefined) {
      timers.after(delayMs, resolve);
      return;
    }
    if (signal.aborted) return reject(abortError(signal));
    const cancel = timers.after(delayMs, () => {
      remove();
      resolve();
    });
    const remove = whenAborted(signal, () => {
      cancel();
      reject(abortError(signal));
    });
  });
}

/**
 * An AbortSignal of an AbortSource. It becomes an EventTarget only for callers that add an event listener, such as libraries. Functions
 * of the platform that check the class of their signal, such as `fetch` and `AbortSignal.any`, do not accept it.
 */
class PlainSignal implements AbortSignal {
  #registrations: LinkedList<Registration> | undefined;
  #native: AbortController | undefined;
  #aborted = false;
  #reason: unknown;

  get aborted(): boolean {
    return this.#aborted;
  }

  get reason(): unknown {
    return this.#reason;
  }

  get onabort(): AbortSignal["onabort"] {
    return this.#nativeSignal.onabort;
  }

  set onabort(listener: AbortSignal["onabort"]) {
    this.#nativeSignal.onabort = listener;
  }

  /** Calls back once when aborted, in the order of the calls. The returned function removes the callback. */
  add(callback: () => void): () => void {
    const registration = new Registration(callback);
    this.#registrations ??= new LinkedList();
    const registrations = this.#registrations;
    registrations.add(registration);
    return () => void registrations.delete(registration);
  }

  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    if (this.#registrations !== undefined) callAll(this.#registrations);
    this.#native?.abort(reason);
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#reason;
  }

  addEventListener(...listener: Parameters<AbortSignal["addEventListener"]>): void {
    this.#nativeSignal.addEventListener(...listener);
  }

  removeEventListener(...listener: Parameters<AbortSignal["removeEventListener"]>): void {
    this.#native?.signal.removeEventListener(...listener);
  }

  dispatchEvent(event: Event): boolean {
    return this.#nativeSignal.dispatchEvent(event);
  }

  get #nativeSignal(): AbortSignal {
    if (this.#native === undefined) {
      this.#native = new AbortController();
      if (this.#aborted) this.#native.abort(this.#reason);
    }
    return this.#native.signal;
  }
}

/**
 * An abort controller for work that begins and ends often. Making a native signal takes 5 us, and waiting for it 10 us more; here both
 * take half a microsecond if only `whenAborted` waits for it.
 */
export class AbortSource {
  readonly #signal = new PlainSignal();

  get signal(): AbortSignal {
    return this.#signal;
  }

  /** Harmless when repeated. */
  abort(reason: unknown): void {
    this.#signal.abort(reason);
  }
}

/**
 * An AbortSource whose signal is also aborted, with the same reason, when its parent is aborted. Call `unlink` when the work is done:
 * until then the parent has a callback.
 */
export class LinkedAbort extends AbortSource {
  readonly #unlink: () => void;

  constructor(parent: AbortSignal) {
    super();
    this.#unlink = whenAborted(parent, () => super.abort(parent.reason));
  }

  /** Aborts this signal, not the parent. Harmless when repeated. */
  override abort(reason: unknown): void {
    this.#unlink();
    super.abort(reason);
  }

  /** Removes the link to the parent. The signal stays as it is. Harmless when repeated. */
  unlink(): void {
    this.#unlink();
  }
}
