import { describe, expect, it } from "vitest";
import { namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";
import { Chance } from "../seeded-random.js";
import { RoundRobinReaders } from "./round-robin-readers.js";

const MiB = 1 << 20;
const OBJECTS = 12;
const OVERWRITES = 25;
/** Blocks are of 1 MiB in these clusters. */
const PAIR = { offsets: [1_000, 2 * MiB + 1_000], length: 1_000, objectBytes: 3 * MiB } as const;
/** Pairs read between two overwrites, at most. */
const MOST_PAIRS_BETWEEN = 20;

describe("objects that are overwritten while they are read through three members in turn", () => {
  // The same with 1,000 overwrites at the default settings: npm run overwrites.
  it("never go back to an older version, and no two ranges are of two versions, once anyone has received the newer one", async () => {
    await using cluster = await Cluster.start({ processes: [], names: namesOf(3), flags: ["--revalidate-after", "2s"] });
    const members = cluster.names.map((name) => `http://${cluster.hostOf(name)}:${cluster.port + 1}`);
    const readers = new RoundRobinReaders({
      origin: cluster.origin,
      bucket: "bucket",
      objects: OBJECTS,
      pair: PAIR,
      members,
      seed: 1,
    });
    const chance = new Chance(2);
    for (let overwrites = 0; overwrites < OVERWRITES; overwrites++) {
      for (let pairs = chance.below(MOST_PAIRS_BETWEEN); pairs > 0; pairs--) await readers.readPair(chance.below(OBJECTS));
      readers.overwrite();
    }
    while (!readers.areCurrent && readers.report.wrong.length === 0) {
      await Promise.all(Array.from({ length: OBJECTS }, (_, index) => readers.readPair(index)));
    }
    console.info(`${readers.report.pairs} pairs of ranges, ${readers.report.changesSeen} of ${OVERWRITES} overwrites seen`);
    expect(readers.report).toMatchObject({ mixedPairs: 0, wentBack: 0, wrong: [] });
  });
});
