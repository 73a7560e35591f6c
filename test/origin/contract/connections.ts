import { bytesOf, rampBytes, rangeOf, statOf } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { fails, MiB, type OriginUnderTest } from "./origin-under-test.js";

/** Connections: they end early, stall, are reused and released. */
export function connectionsContract(under: OriginUnderTest): void {
  describe("a connection", () => {
    it("that is reset before the answer makes the request UNAVAILABLE", async () => {
      under.store.faults.place({ reset: true });
      await fails("UNAVAILABLE", () => under.fetch("ramp", 0, 10));
      await fails("UNAVAILABLE", () => under.origin.ask(statOf(under.ref("ramp"))));
    });

    it.each(["reset", "close"] as const)("that ends by a %s in the body fails it after correct bytes only", async (how) => {
      under.store.faults.place({ body: { afterBytes: 300_000, how } });
      const answer = await under.fetch("ramp", 50, MiB);
      let received = 0;
      const onLanded = (bytes: Buffer): void => {
        expect(rampBytes(50 + received, bytes.length, 3).equals(bytes)).toBe(true);
        received += bytes.length;
      };
      await fails("UNAVAILABLE", () => bytesOf(answer, onLanded));
      expect(received).toBeLessThanOrEqual(300_000);
    });

    it.each([0, 300_000])("that stalls after %i bytes is ended by the idle timeout", async (afterBytes) => {
      under.store.faults.place({ body: { afterBytes, how: "stall" } });
      const stalled = () => under.shortTimeout.fetch(rangeOf(under.ref("ramp"), { offset: 0, length: MiB }));
      await fails("UNAVAILABLE", async () => bytesOf(await stalled()));
    });

    it("without an answer is ended by the idle timeout", async () => {
      under.store.faults.place({ latencyMs: 60_000 });
      await fails("UNAVAILABLE", () => under.shortTimeout.fetch(rangeOf(under.ref("ramp"), { offset: 0, length: MiB })));
      await fails("UNAVAILABLE", () => under.shortTimeout.ask(statOf(under.ref("ramp"))));
    });

    it("is reused for several requests", async () => {
      await bytesOf(await under.fetch("ramp", 0, MiB));
      const before = under.store.openSockets;
      for (let round = 0; round < 10; round++) await bytesOf(await under.fetch("ramp", round, 1000));
      expect(under.store.openSockets).toBe(before);
    });

    it("is not opened beyond the bound", async () => {
      under.store.traffic.reset();
      under.store.faults.place({ latencyMs: 5 });
      await Promise.all(Array.from({ length: 40 }, (_, at) => under.fetch("ramp", at, 1000).then(bytesOf)));
      expect(under.store.traffic.peakOpen).toBeLessThanOrEqual(under.maxConnections);
    });

    it("is freed if an answer is destroyed unread, half read, at the end, or twice", async () => {
      for (let round = 0; round < 2 * under.maxConnections; round++) {
        const unread = await under.fetch("ramp", 0, 10 * MiB);
        unread.body.destroy();
        const half = await under.fetch("ramp", 0, 10 * MiB);
        await fails("CANCELLED", () => bytesOf(half, () => half.body.destroy()));
        half.body.destroy();
        const read = await under.fetch("ramp", 0, 10);
        await bytesOf(read);
        read.body.destroy();
      }
    });

    it("does not receive a body that nobody reads", async () => {
      under.store.putRamp("bucket", "huge", 8 * 1024 * MiB);
      under.store.traffic.reset();
      const answer = await under.fetch("huge", 0, 8 * 1024 * MiB);
      await under.fetch("ramp", 0, MiB).then(bytesOf); // enough time to send far more than the kernel buffers
      expect(under.store.traffic.bytesSent).toBeLessThan(64 * MiB);
      answer.body.destroy();
    });
  });
}
