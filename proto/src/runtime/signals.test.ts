import { getEventListeners } from "node:events";
import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { CacheError } from "../errors.js";
import { AbortSource, LinkedAbort, sleep, type Timers, untilAborted, whenAborted } from "./signals.js";

/** Timers that ring when the test says so. */
function manualTimers(): Timers & { ring(): void; readonly pending: number } {
  const callbacks = new Set<() => void>();
  return {
    after(_delayMs, callback) {
      callbacks.add(callback);
      return () => void callbacks.delete(callback);
    },
    ring: () => {
      for (const callback of callbacks) callback();
      callbacks.clear();
    },
    get pending() {
      return callbacks.size;
    },
  };
}

const listeners = (signal: AbortSignal): number => getEventListeners(signal, "abort").length;

describe("whenAborted", () => {
  it("calls every callback once, through one listener, and leaves none behind", () => {
    const controller = new AbortController();
    const called: number[] = [];
    for (let i = 0; i < 100; i++) whenAborted(controller.signal, () => called.push(i));
    expect(listeners(controller.signal)).toBe(1);
    controller.abort();
    expect(called).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(listeners(controller.signal)).toBe(0);
  });

  it("calls the callback immediately when the signal is aborted already", () => {
    let called = 0;
    whenAborted(AbortSignal.abort(), () => called++);
    expect(called).toBe(1);
  });

  it("removes the listener with the last callback, and adds it again for the next one", () => {
    const { signal } = new AbortController();
    const remove = [whenAborted(signal, () => undefined), whenAborted(signal, () => undefined)];
    remove[0]!();
    expect(listeners(signal)).toBe(1);
    remove[1]!();
    remove[1]!();
    expect(listeners(signal)).toBe(0);
    whenAborted(signal, () => undefined);
    expect(listeners(signal)).toBe(1);
  });

  it("keeps the one listener of a signal that is waited for again and again, such as a connection's", () => {
    const controller = new AbortController();
    for (let i = 0; i < 100; i++) whenAborted(controller.signal, () => undefined)();
    expect(listeners(controller.signal)).toBe(1);
    let called = 0;
    whenAborted(controller.signal, () => called++);
    controller.abort();
    expect([called, listeners(controller.signal)]).toEqual([1, 0]);
  });

  it("registers the same function once per call", () => {
    const controller = new AbortController();
    let called = 0;
    const callback = (): void => void called++;
    const remove = whenAborted(controller.signal, callback);
    whenAborted(controller.signal, callback);
    remove();
    controller.abort();
    expect(called).toBe(1);
  });

  it("does not call a callback that an earlier one removed", () => {
    const controller = new AbortController();
    let called = false;
    whenAborted(controller.signal, () => remove());
    const remove = whenAborted(controller.signal, () => {
      called = true;
    });
    controller.abort();
    expect(called).toBe(false);
  });
});

describe("untilAborted", () => {
  it("settles as the work does, and leaves no listener", async () => {
    const { signal } = new AbortController();
    expect(await untilAborted(Promise.resolve(7), signal)).toBe(7);
    await expect(untilAborted(Promise.reject(new Error("broken")), signal)).rejects.toThrow("broken");
    expect(listeners(signal)).toBe(0);
  });

  it("rejects with the reason of the abort, whatever the work does later", async () => {
    const controller = new AbortController();
    let fail!: (error: Error) => void;
    const work = new Promise<void>((_, reject) => {
      fail = reject;
    });
    const waiting = untilAborted(work, controller.signal);
    controller.abort(new CacheError("CANCELLED", "enough"));
    await expect(waiting).rejects.toThrow("enough");
    await expect(untilAborted(work, controller.signal)).rejects.toThrow("enough");
    fail(new Error("too late to matter"));
  });
});

describe("sleep", () => {
  it("resolves after the delay, and leaves no listener", async () => {
    const timers = manualTimers();
    const { signal } = new AbortController();
    const sleeping = sleep(timers, 10, signal);
    timers.ring();
    await sleeping;
    expect(listeners(signal)).toBe(0);
  });

  it("rejects and cancels its timer when the signal is aborted", async () => {
    const timers = manualTimers();
    const controller = new AbortController();
    const sleeping = sleep(timers, 10, controller.signal);
    controller.abort();
    await expect(sleeping).rejects.toMatchObject({ code: "CANCELLED" });
    expect(timers.pending).toBe(0);
    await expect(sleep(timers, 10, controller.signal)).rejects.toMatchObject({ code: "CANCELLED" });
    expect(timers.pending).toBe(0);
  });
});

describe("AbortSource", () => {
  it("calls back once, in order, except for callbacks that were removed before or by another callback", () => {
    const source = new AbortSource();
    const called: string[] = [];
    whenAborted(source.signal, () => {
      called.push("first");
      removeSecond();
    });
    const removeSecond = whenAborted(source.signal, () => called.push("second"));
    const removeThird = whenAborted(source.signal, () => called.push("third"));
    whenAborted(source.signal, () => called.push("fourth"));
    removeThird();
    expect([source.signal.aborted, source.signal.reason]).toEqual([false, undefined]);
    source.signal.throwIfAborted();
    source.abort("enough");
    source.abort("more");
    expect(called).toEqual(["first", "fourth"]);
    expect([source.signal.aborted, source.signal.reason]).toEqual([true, "enough"]);
    whenAborted(source.signal, () => called.push("late"));
    expect(called).toEqual(["first", "fourth", "late"]);
    expect(() => source.signal.throwIfAborted()).toThrow("enough");
  });

  it("notifies event listeners, also those that are added by code that knows only AbortSignal", async () => {
    const source = new AbortSource();
    const called: unknown[] = [];
    const listener = (event: Event) => called.push(event.type);
    const removed = () => called.push("removed");
    source.signal.addEventListener("abort", listener, { once: true });
    source.signal.addEventListener("abort", removed);
    source.signal.removeEventListener("abort", removed);
    source.signal.onabort = () => called.push("onabort");
    const waiting = setTimeoutPromise(60_000, undefined, { signal: source.signal });
    source.abort("enough");
    expect(called).toEqual(["abort", "onabort"]);
    await expect(waiting).rejects.toMatchObject({ name: "AbortError", cause: "enough" });
    source.signal.addEventListener("abort", listener);
    expect(called).toEqual(["abort", "onabort"]);
  });

  it("is the parent of a LinkedAbort like a native signal", () => {
    const source = new AbortSource();
    const [linked, unlinked] = [new LinkedAbort(source.signal), new LinkedAbort(source.signal)];
    unlinked.unlink();
    const nested = new LinkedAbort(linked.signal);
    source.abort("enough");
    expect([linked, nested, unlinked].map(({ signal }) => signal.reason)).toEqual(["enough", "enough", undefined]);
  });
});

describe("LinkedAbort", () => {
  it("is aborted with its parent's reason, also when the parent was aborted before", () => {
    const parent = new AbortController();
    const linked = new LinkedAbort(parent.signal);
    parent.abort("enough");
    expect(linked.signal.reason).toBe("enough");
    expect(new LinkedAbort(parent.signal).signal.reason).toBe("enough");
  });

  it("does not abort its parent when it is aborted itself", () => {
    const parent = new AbortController();
    const linked = new LinkedAbort(parent.signal);
    linked.abort("own reason");
    parent.abort("another reason");
    expect(linked.signal.reason).toBe("own reason");
  });

  it("leaves no listener at its parent when it is unlinked", () => {
    const parent = new AbortController();
    const linked = new LinkedAbort(parent.signal);
    linked.unlink();
    parent.abort();
    expect([linked.signal.aborted, listeners(parent.signal)]).toEqual([false, 0]);
  });
});
