import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blockDigest, blockPath, FOOTER_BYTES } from "@frontcache/proto";
import {
  areTestBytes,
  type BlockStore,
  keep,
  noMapping,
  openMapper,
  openNodeDisk,
  openTestStore,
  readBlock,
  storageFaults,
  storageTuning,
  systemClock,
  testBytes,
  testGeometry,
  testId,
  testInfo,
  testSegments,
} from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededRandom } from "../seeded-random.js";
import { damages } from "./damage-block-file.js";
import { volumeFiles } from "./volume-files.js";

const { blockBytes: BLOCK, segmentBytes: SEGMENT } = testGeometry;
/** More of them in long runs: FRONTCACHE_DAMAGE_ROUNDS=20. */
const ROUNDS = Number(process.env.FRONTCACHE_DAMAGE_ROUNDS ?? 8);
const BLOCKS = 50;
const PAGE_BYTES = 4096;

const info = testInfo();
const ids = Array.from({ length: BLOCKS }, (_, name) => testId(`s3://bucket/${name}`));
/** Every second block is partly cached. */
const cached = ids.map((_id, i) => (i % 2 === 0 ? [0, 1, 2, 3, 4, 5, 6, 7] : [1, 2, 6]));

describe("hundreds of damages to block files between restarts", () => {
  let directory: string;
  const random = seededRandom(1);

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "frontcache-damage-"));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  async function open(isMapped: boolean): Promise<BlockStore> {
    return openTestStore({
      volumes: [{ path: directory }],
      geometry: testGeometry,
      disk: await openNodeDisk(),
      mapper: isMapped ? await openMapper({ blockBytes: BLOCK, maxMappings: 16 }) : noMapping,
      clock: systemClock,
      eviction: "slru",
      maxMappings: 16,
      purgeIntervalMs: 60_000,
      tuning: storageTuning,
    });
  }

  /** Reads a block's segments as the cache does: fetches and writes missing segments. Rejects if a byte is wrong. */
  async function readThrough(store: BlockStore, block: number): Promise<void> {
    const id = ids[block]!;
    for (const segment of cached[block]!) {
      const start = segment * SEGMENT;
      const bytes = await readBlock(store, id, start, start + SEGMENT);
      if (bytes === undefined) await keep(store, id, info, testSegments(id, info, [segment]));
      else if (!bytes.equals(testBytes(start, SEGMENT))) throw new Error(`wrong bytes in segment ${segment} of ${id.url}`);
    }
  }

  async function isWhole(store: BlockStore, block: number): Promise<boolean> {
    for (const segment of cached[block]!) {
      const [start, end] = [segment * SEGMENT, (segment + 1) * SEGMENT];
      if (!areTestBytes(await readBlock(store, ids[block]!, start, end), start, SEGMENT)) return false;
    }
    return true;
  }

  /** Returns whether the damage counts as one: a file without its whole footer counts as incomplete. */
  function damageOne(block: number): boolean {
    const pathOf = (name: number): string => blockPath(directory, blockDigest(ids[name]!, BLOCK));
    const other = pathOf((block + 1) % BLOCKS);
    const kinds = Object.values(damages);
    const damage = kinds[Math.floor(random() * kinds.length)]!;
    damage({ path: pathOf(block), other, cached: cached[block]!, geometry: testGeometry, random });
    const size = statSync(pathOf(block), { throwIfNoEntry: false })?.size;
    return size === undefined || size >= BLOCK + FOOTER_BYTES;
  }

  it("cause no wrong byte, are all counted unless they shorten a file, and are repaired by the next read of the block", async () => {
    let damaged = 0;
    for (let round = 0; round <= ROUNDS; round++) {
      const store = await open(round % 2 === 0);
      for (let block = 0; block < BLOCKS; block++) await readThrough(store, block);
      expect(store.status().damages).toBe(damaged);
      await store.settled();
      for (let block = 0; block < BLOCKS; block++) expect(await isWhole(store, block)).toBe(true);
      expect(await storageFaults(store, await openNodeDisk(), testGeometry)).toEqual([]);
      const { usedBytes } = store.status().volumes[0]!;
      const { blockFiles, allocatedBytes } = volumeFiles(directory);
      await store.close();
      // File systems may need another page for the metadata of a fragmented file.
      expect(allocatedBytes - usedBytes).toBeLessThanOrEqual(blockFiles * PAGE_BYTES);
      damaged = 0;
      for (let block = 0; block < BLOCKS; block++) damaged += Number(damageOne(block));
    }
  });
});
