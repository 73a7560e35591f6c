import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "./clock.js";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

describe("a timer", () => {
  it.each([2 ** 31, 1_000 * 3_600_000, Number.POSITIVE_INFINITY])(
    "of %d ms, longer than Node supports, does not fire immediately",
    (delayMs) => {
      let isOver = false;
      const cancel = systemClock.after(delayMs, () => {
        isOver = true;
      });
      vi.advanceTimersByTime(24 * 24 * 3_600_000);
      expect(isOver).toBe(false);
      cancel();
    },
  );
});
