import { parseObjectUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { expect, it } from "vitest";
import { openCache } from "../testing/cache-fixture.js";
import { MemoryObjects } from "../testing/origin/memory-objects.js";
import { MemoryOrigin } from "../testing/origin/memory-origin.js";
import { openStore } from "../testing/store-fixture.js";
import { DecidedRecords } from "./decided-records.js";
import { LEASE_MS } from "./granted-leases.js";

const URL = "s3://bucket/object";
const ages = { revalidateAfterMs: 10_000, negativeTtlMs: 1_000 };

it("a home that has ended its leases to hand an object over, and then decides again, waits for a holder that has not confirmed", async () => {
  const clock = new ManualClock();
  const objects = new MemoryObjects();
  objects.putRamp(URL, 100, 0);
  const origin = new MemoryOrigin(objects, clock, 10_000);
  const local = openCache({ ...(await openStore()), clock }, origin, { fill: "wanted", ...ages });
  const revoke = (): Promise<void> => new Promise(() => {});
  const decided = new DecidedRecords({ clock, local, leases: { epoch: 1, revoke }, isRestarted: false, ...ages });
  const record = await decided.current(parseObjectUrl(URL), new AbortController().signal);
  expect(decided.lease(URL, { name: "holder", grpcAddress: "holder:1" }, record?.info)?.forMs).toBe(LEASE_MS);
  const released = decided.release(() => true);
  await expect.poll(() => decided.changing(URL) !== undefined).toBe(true);
  clock.advance(LEASE_MS);
  await released;
  expect(decided.changing(URL)).toBeUndefined();
  await local.close();
});
