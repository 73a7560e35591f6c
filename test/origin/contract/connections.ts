import { describe, expect, it } from "vitest";
import { bytesOf } from "../../../server/src/testing/answer-fixture.js";
import { rampBytes } from "../../../server/src/testing/origin/ramp.js";
import { rangeOf, statOf } from "../../../server/src/testing/origin/requests.js";
import { fails, MiB, type OriginUnderTest } from "./origin-under-test.js";

/** What happens to connections: they break, stall, are used again and given back. */
export function connectionsContract(under: OriginUnderTest): void {
  describe("connections", () => {
    it("reset before the answer are UNAVAILABLE", async () => {
      under.store.faults.place({ reset: true });
      await fails("UNAVAILABLE", () => under.fetch("ramp", 0, 10));
      await fails("UNAVAILABLE", () => under.origin.ask(statOf(under.ref("ramp"))));
    });

    it.each(["reset", "close"] as const)("that break off by a %s fail the body after true bytes only", async (how) => {
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

    it.each([0, 300_000])("that stall after %i bytes are cut by the idle time-out", async (afterBytes) => {
      under.store.faults.place({ body: { afterBytes, how: "stall" } });
      const stalled = () => under.impatient.fetch(rangeOf(under.ref("ramp"), { offset: 0, length: MiB }));
      await fails("UNAVAILABLE", async () => bytesOf(await stalled()));
    });

    it("without an answer are cut by the idle time-out", async () => {
      under.store.faults.place({ latencyMs: 60_000 });
      await fails("UNAVAILABLE", () => under.impatient.fetch(rangeOf(under.ref("ramp"), { offset: 0, length: MiB })));
      await fails("UNAVAILABLE", () => under.impatient.ask(statOf(under.ref("ramp"))));
    });

    it("are used again, one after the other", async () => {
      await bytesOf(await under.fetch("ramp", 0, MiB));
      const before = under.store.openSockets;
      for (let round = 0; round < 10; round++) await bytesOf(await under.fetch("ramp", round, 1000));
      expect(under.store.openSockets).toBe(before);
    });

    it("never outnumber their bound", async () => {
      under.store.traffic.reset();
      under.store.faults.place({ latencyMs: 5 });
      await Promise.all(Array.from({ length: 40 }, (_, at) => under.fetch("ramp", at, 1000).then(bytesOf)));
      expect(under.store.traffic.peakOpen).toBeLessThanOrEqual(under.maxConnections);
    });

    it("are freed by destroying answers unread, half read, at the end, and twice", async () => {
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

    it("hold back what nobody reads", async () => {
      under.store.putRamp("bucket", "huge", 8 * 1024 * MiB);
      under.store.traffic.reset();
      const answer = await under.fetch("huge", 0, 8 * 1024 * MiB);
      await under.fetch("ramp", 0, MiB).then(bytesOf); // time enough to send far more than the kernel's buffers hold
      expect(under.store.traffic.bytesSent).toBeLessThan(64 * MiB);
      answer.body.destroy();
    });
  });
}
