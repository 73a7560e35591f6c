import { type ObjectRef, parseObjectUrl } from "@frontcache/proto";
import { expect, it } from "vitest";
import { TestHomes } from "../testing/test-homes.js";

const OBJECTS = 10_000;
/** As by default. The records have all ages up to this. */
const REVALIDATE_AFTER_MS = 60_000;
const STEP_MS = 200;
/** How often each object is read through each member: less often, and its lease would not be renewed. */
const READ_EVERY_MS = 4_000;
const MEASURED_MS = 8_000;

it("costs two members at most 5 requests per second together if each of them reads 10,000 hot objects", async () => {
  const homes = new TestHomes({ revalidateAfterMs: REVALIDATE_AFTER_MS });
  const { clock, calls } = homes;
  const members = await homes.startAll("a", "b");
  const refs = Array.from({ length: OBJECTS }, (_, number) => parseObjectUrl(`s3://bucket/${number}`));
  for (const { url } of refs) homes.objects.put(url, "one");
  const { signal } = new AbortController();
  const read = (some: readonly ObjectRef[]): Promise<unknown> =>
    Promise.all(members.flatMap(({ homes: records }) => some.map((ref) => records.current(ref, signal))));
  for (let ms = 0; ms < REVALIDATE_AFTER_MS; ms += STEP_MS) {
    clock.advance(STEP_MS);
    const some = slice(refs, ms / REVALIDATE_AFTER_MS, STEP_MS / REVALIDATE_AFTER_MS);
    // At the home alone, where nothing needs to be asked of another member.
    const at = ({ url }: ObjectRef) => members.find(({ homes: records }) => records.decides(url))!;
    await Promise.all(some.map((ref) => at(ref).current(ref)));
  }
  const hot = async (forMs: number): Promise<void> => {
    for (let ms = 0; ms < forMs; ms += STEP_MS) {
      clock.advance(STEP_MS);
      // Calls between members, and questions to the origin, are answered.
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
      await read(slice(refs, (ms % READ_EVERY_MS) / READ_EVERY_MS, STEP_MS / READ_EVERY_MS));
    }
  };
  await read(refs);
  await hot(READ_EVERY_MS);
  calls.length = 0;
  await hot(MEASURED_MS);
  expect(calls.filter((call) => !call.startsWith("renew"))).toEqual([]);
  expect(calls.length / (MEASURED_MS / 1_000)).toBeLessThanOrEqual(5);
  await homes.close();
});

function slice(refs: readonly ObjectRef[], from: number, share: number): readonly ObjectRef[] {
  return refs.slice(Math.round(from * refs.length), Math.round((from + share) * refs.length));
}
