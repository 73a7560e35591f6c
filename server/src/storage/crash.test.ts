import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MemoryDisk } from "../testing/memory-disk.js";
import {
  areTestBytes,
  faultsAtRest,
  keep,
  openStore,
  readBlock,
  type StoreFixture,
  testGeometry,
  testId,
  testInfo,
  testSegments,
} from "../testing/store-fixture.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
const info = testInfo();
const volumes = [{ path: "/cache", limitBytes: 6 * BLOCK }];
const names = [0, 1, 2, 3, 4, 5, 6, 7];
const id = (name: number) => testId(`s3://bucket/${name}`);

type Action = { readonly kind: "keep" | "evict" | "read"; readonly name: number; readonly from: number; readonly count: number };

const action: fc.Arbitrary<Action> = fc.record({
  kind: fc.constantFrom("keep" as const, "keep" as const, "keep" as const, "evict" as const, "read" as const),
  name: fc.constantFrom(...names),
  from: fc.nat(7),
  count: fc.integer({ min: 1, max: 8 }),
});

async function perform({ store }: StoreFixture, { kind, name, from, count }: Action): Promise<void> {
  const segments = Array.from({ length: Math.min(count, 8 - from) }, (_, index) => from + index);
  if (kind === "keep") await keep(store, id(name), info, testSegments(id(name), info, segments));
  else if (kind === "evict") await store.evict({ url: id(name).url });
  else {
    const bytes = await readBlock(store, id(name), from * SEGMENT, (from + 1) * SEGMENT);
    expect(bytes === undefined || areTestBytes(bytes, from * SEGMENT, SEGMENT)).toBe(true);
  }
}

/** The process dies at its operation number `at` on the disk; half of a write may have been done by then. */
function dieAt(disk: MemoryDisk, at: number): Promise<void> {
  let count = 0;
  return new Promise((died) => {
    disk.before = (operation) => {
      if (count++ < at) return undefined;
      died();
      if (count === at + 1 && operation === "write") return 3000;
      return new Promise(() => undefined);
    };
  });
}

async function expectSound(fixture: StoreFixture): Promise<void> {
  const { store } = fixture;
  for (const name of names) {
    const pin = store.pin(id(name));
    for (let segment = 0; segment < 8; segment++) {
      if (!pin?.has(segment)) continue;
      const slice = await pin.read(segment * SEGMENT, (segment + 1) * SEGMENT);
      expect(areTestBytes(slice?.bytes, segment * SEGMENT, SEGMENT)).toBe(true);
      slice?.release();
    }
    pin?.release();
  }
  expect(await faultsAtRest(fixture)).toEqual([]);
  expect(store.status().damages).toBe(0);
}

describe("a process that dies", () => {
  it("at any moment of writes, evictions and purges leaves no wrong byte, no stray file and no lost space", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 30 }), fc.nat(150), async (actions, at) => {
        const fixture = await openStore({ volumes });
        const died = dieAt(fixture.disk, at);
        await Promise.race([died, Promise.all(actions.map((each) => perform(fixture, each)))]);
        const disk = fixture.disk.crash();
        const again = await openStore({ disk, clock: fixture.clock, volumes });
        await expectSound(again);
        for (const each of actions) await perform(again, each);
        await expectSound(again);
        await again.store.close();
      }),
      { numRuns: 80 },
    );
  });

  it("keeps every block whose write was completed", async () => {
    const { store, disk, clock } = await openStore();
    for (const name of names.slice(0, 3)) await keep(store, id(name), info, testSegments(id(name), info));
    disk.before = () => new Promise(() => undefined);
    void keep(store, id(3), info, testSegments(id(3), info));
    const again = await openStore({ disk: disk.crash(), clock });
    for (const name of names.slice(0, 3)) {
      expect(areTestBytes(await readBlock(again.store, id(name), 0, BLOCK), 0, BLOCK)).toBe(true);
    }
    expect(again.store.pin(id(3))).toBeUndefined();
    await again.store.close();
  });
});
