import type { BlockId } from "@frontcache/proto";
import { Batch } from "../batch.js";
import type { Clock } from "../members/clock.js";
import type { MemberAddress, MemberCalls } from "../members/ports.js";
import { RunningCall } from "../members/running-call.js";
import type { BlockOwners } from "../read-block.js";

/** Timeout of a report. A member that misses a report may evict the blocks too early. */
const DEADLINE_MS = 1_000;

/** Reports the use of blocks to their owners. Never rejects, because a lost report only affects eviction. */
export function reportUses(
  calls: Pick<MemberCalls, "touch">,
  owners: BlockOwners,
  clock: Clock,
): (uses: readonly BlockId[]) => Promise<void> {
  return async (uses) => {
    const byOwner = new Map<string, { readonly address: MemberAddress; readonly blocks: BlockId[] }>();
    for (const id of uses) {
      const address = owners.addressesOf(id.url, id.offset)[0]!;
      const owned = byOwner.get(address.grpcAddress) ?? { address, blocks: [] };
      byOwner.set(address.grpcAddress, owned);
      owned.blocks.push(id);
    }
    const call = new RunningCall({ clock, subject: "a touch of blocks", deadlineMs: DEADLINE_MS });
    try {
      await Promise.allSettled([...byOwner.values()].map(({ address, blocks }) => report(address, blocks, calls, call)));
    } finally {
      call.end();
    }
  };
}

async function report(
  address: MemberAddress,
  blocks: readonly BlockId[],
  calls: Pick<MemberCalls, "touch">,
  call: RunningCall,
): Promise<void> {
  const batch = new Batch<BlockId>();
  for (const block of blocks) {
    const full = batch.add(block, Buffer.byteLength(block.url) + Buffer.byteLength(block.version));
    if (full !== undefined) await calls.touch(address, full, call);
  }
  await calls.touch(address, batch.take(), call);
}
