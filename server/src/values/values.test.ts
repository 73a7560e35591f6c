import { ManualClock } from "@frontcache/proto/testing";
import { MemoryValues } from "../testing/memory-values.js";
import { describeValues } from "../testing/values-contract.js";

describeValues("in memory", async () => {
  const clock = new ManualClock();
  return {
    values: new MemoryValues(clock),
    advance: async (byMs) => clock.advance(byMs),
    close: async () => {},
  };
});
