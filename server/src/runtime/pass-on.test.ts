import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { passOn } from "./pass-on.js";

describe("an abortion that is passed on", () => {
  it("arrives with its reason, also where it came before", () => {
    const [from, to, late] = [new AbortController(), new AbortController(), new AbortController()];
    passOn(from.signal, to);
    from.abort("enough");
    passOn(from.signal, late);
    expect([to.signal.reason, late.signal.reason]).toEqual(["enough", "enough"]);
  });

  it("leaves nothing at its signal when it is not wanted any more", () => {
    const [from, to] = [new AbortController(), new AbortController()];
    passOn(from.signal, to)();
    from.abort();
    expect([to.signal.aborted, getEventListeners(from.signal, "abort").length]).toEqual([false, 0]);
  });
});
