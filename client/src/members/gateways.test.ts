import { describe, expect, it } from "vitest";
import { ManualClock } from "../testing/manual-clock.js";
import { Gateways } from "./gateways.js";

const gateway = "a:81";

function setUp() {
  const clock = new ManualClock();
  const looked: Look[] = [];
  const lookFor = (): Promise<void> => new Promise((resolve, reject) => looked.push({ resolve, reject }));
  const gateways = new Gateways({ clock, asideFor: { firstMs: 1_000, longestMs: 4_000 }, lookFor });
  return { clock, looked, gateways };
}

interface Look {
  resolve(): void;
  reject(error: Error): void;
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("the gateways", () => {
  it("are used until they fail; one that failed is left aside, the others are not", () => {
    const { gateways } = setUp();
    expect(gateways.usable(gateway)).toBe(true);
    gateways.failed(gateway);
    expect([gateways.usable(gateway), gateways.usable("b:81")]).toEqual([false, true]);
  });

  it("are looked for once when their time is over, and used again when somebody is there", async () => {
    const { gateways, clock, looked } = setUp();
    gateways.failed(gateway);
    clock.advance(749);
    expect([gateways.usable(gateway), looked.length]).toEqual([false, 0]);
    clock.advance(1);
    expect([gateways.usable(gateway), gateways.usable(gateway), looked.length]).toEqual([false, false, 1]);
    looked[0]!.resolve();
    await settled();
    expect(gateways.usable(gateway)).toBe(true);
  });

  it("are left aside longer with each failure, whether nobody is there or the next read fails, until one works", async () => {
    const { gateways, clock, looked } = setUp();
    gateways.failed(gateway);
    gateways.failed(gateway);
    clock.advance(750);
    gateways.usable(gateway);
    looked[0]!.reject(new Error("refused"));
    await settled();
    // The second failure: three quarters of 2,000 ms.
    clock.advance(1_499);
    expect([gateways.usable(gateway), looked.length]).toEqual([false, 1]);
    clock.advance(1);
    gateways.usable(gateway);
    looked[1]!.resolve();
    await settled();
    expect(gateways.usable(gateway)).toBe(true);
    gateways.failed(gateway);
    clock.advance(2_999);
    expect([gateways.usable(gateway), looked.length]).toEqual([false, 2]);
    gateways.worked(gateway);
    expect(gateways.usable(gateway)).toBe(true);
    gateways.failed(gateway);
    clock.advance(750);
    gateways.usable(gateway);
    expect(looked.length).toBe(3);
  });

  it("are forgotten with their members, also while they are looked for", async () => {
    const { gateways, clock, looked } = setUp();
    gateways.failed(gateway);
    clock.advance(750);
    gateways.usable(gateway);
    gateways.keepOnly(new Set([undefined, "b:81"]));
    expect(gateways.usable(gateway)).toBe(true);
    looked[0]!.reject(new Error("refused"));
    await settled();
    expect(gateways.usable(gateway)).toBe(true);
  });
});
