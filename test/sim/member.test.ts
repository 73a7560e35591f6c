import { describe, expect, it } from "vitest";
import { Chance } from "../seeded-random.js";
import { MemberWorld } from "./member-world.js";
import { geometry, URLS } from "./simulated-parts.js";

/** More of them in long runs: FRONTCACHE_SIM_SEEDS=1000. One that failed again: FRONTCACHE_SIM_SEED=17. */
const first = Number(process.env.FRONTCACHE_SIM_SEED ?? 1);
const seeds = process.env.FRONTCACHE_SIM_SEED === undefined ? Number(process.env.FRONTCACHE_SIM_SEEDS ?? 20) : 1;
const STEPS = 300;

/** One thing that happens, chosen by chance. */
async function step(world: MemberWorld): Promise<void> {
  const { chance, history } = world;
  const url = chance.pick(URLS);
  const dice = chance.next();
  if (dice < 0.6) {
    const block = chance.below(4) * geometry.blockBytes;
    const start = chance.below(geometry.blockBytes);
    const length = 1 + Math.floor(chance.next() ** 2 * (geometry.blockBytes - start));
    const version = chance.happens(0.5) ? undefined : chance.pick(history.versions(url))?.version;
    const readers = chance.happens(0.2) ? 5 : 1;
    for (let i = 0; i < readers; i++) world.read(url, version, block, start, length);
  } else if (dice < 0.65) world.put(url);
  else if (dice < 0.66) world.delete(url);
  else if (dice < 0.72) world.abortOne();
  else if (dice < 0.74) world.evict(url);
  else if (dice < 0.84) {
    world.origin.faults.place({ latencyMs: chance.below(50), chunkDelayMs: chance.below(5), times: 3 });
  } else if (dice < 0.9) {
    world.troubleOrigin();
    const afterBytes = chance.below(1_000);
    const how = chance.pick(["break", "stall"] as const);
    world.origin.faults.place(
      chance.pick([{ error: "UNAVAILABLE", times: 4 } as const, { body: { afterBytes, how }, times: 2 }]),
    );
  } else if (dice < 0.95) world.disk.trouble = { fails: chance.pick([0, 0, 0.02, 0.2, 1]), waits: chance.pick([0, 0.2]) };
  else if (dice < 0.97) world.disk.files.foreignBytes = chance.pick([0, 150, 200]) * 1024;
  else if (dice < 0.98) await world.restart();
  else if (dice < 0.99) await world.crash();
  else await world.rest();
  await world.pass(Math.floor(chance.next() ** 3 * 300));
}

async function run(seed: number): Promise<MemberWorld> {
  const world = new MemberWorld(new Chance(seed));
  for (const url of URLS) world.put(url);
  await world.start();
  for (let i = 0; i < STEPS && world.broken.length === 0; i++) await step(world);
  if (world.broken.length === 0) await world.rest();
  return world;
}

describe("a simulated member", () => {
  it.each(Array.from({ length: seeds }, (_, i) => first + i))(
    "keeps every promise through trouble of all kinds, seed %d",
    async (seed) => {
      const world = await run(seed);
      expect(world.broken).toEqual([]);
      expect(world.model.served).toBeGreaterThan(20);
    },
  );

  it("repeats a run exactly from its seed", async () => {
    const [one, other] = [await run(7), await run(7)];
    const told = ({ model, time }: MemberWorld): number[] => [model.served, model.refused, time.nowMs()];
    expect(told(other)).toEqual(told(one));
    expect(other.origin.calls).toEqual(one.origin.calls);
    expect(other.disk.files.paths()).toEqual(one.disk.files.paths());
  });
});
