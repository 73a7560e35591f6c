import { afterAll, afterEach, beforeAll, describe } from "vitest";
import { abortsContract } from "./aborts.js";
import { connectionsContract } from "./connections.js";
import { listingsContract } from "./listings.js";
import { type ContractSubject, OriginUnderTest, type Refusal } from "./origin-under-test.js";
import { readsContract } from "./reads.js";
import { refusalsContract } from "./refusals.js";
import { versionsContract } from "./versions.js";

/** The tests that every origin must pass against its emulator. */
export function originContract(name: string, refusals: readonly Refusal[], start: () => Promise<ContractSubject>): void {
  describe(name, () => {
    const under = new OriginUnderTest(start);
    beforeAll(() => under.open());
    afterEach(() => under.rest());
    afterAll(() => under.close());

    readsContract(under);
    versionsContract(under);
    refusalsContract(under, refusals);
    listingsContract(under, refusals);
    connectionsContract(under);
    abortsContract(under);
  });
}
