import { describe, expect, it } from "vitest";
import { systemClock } from "../../runtime/clock.js";
import type { Slice } from "../../runtime/slice.js";
import { noLimits } from "../../testing/no-limits.js";
import { Clients } from "../limits/clients.js";
import { plainSocket } from "./send-strategy.js";
import { Sending, type Sink } from "./sending.js";

describe("scarce memory that the sink takes immediately", () => {
  it("is written slice by slice, without an empty write, and each slice is released once", () => {
    const slices = ["first, ", "second, ", "third"];
    const written: string[] = [];
    const released: string[] = [];
    const sink: Sink = {
      write(bytes, taken) {
        written.push(bytes.toString());
        taken();
      },
      end: (bytes) => written.push(`${bytes?.toString()}.`),
      destroy() {},
    };
    const all = slices.join("");
    const left = slices.map((text): Slice => ({ bytes: Buffer.from(text), scarce: true, release: () => released.push(text) }));
    const sending = new Sending({
      read: {
        length: all.length,
        next: () => left.shift(),
        close() {},
      },
      sink,
      strategyFor: plainSocket,
      client: new Clients(noLimits, systemClock).of(),
      clock: systemClock,
      begin() {},
      onFailure: (error) => expect.fail(String(error)),
    });
    sending.start();
    expect([written, released, sending.complete]).toEqual([["first, ", "second, ", "third."], slices, true]);
    sending.end();
  });
});
