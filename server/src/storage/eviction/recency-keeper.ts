import { forEachConcurrent } from "@frontcache/proto/runtime";
import type { Clock } from "../../runtime/clock.js";
import type { BlockIndex } from "../block-index.js";
import type { CachedBlock } from "../cached-block.js";
import type { Disk } from "../disk/disk.js";
import type { Volume } from "../volume.js";

/** Files refreshed at a time: fewer than the disk takes, readers come first. */
const REFRESHES = 4;

export interface RecencyKeeperOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly index: Pick<BlockIndex, "on">;
}

/** Writes blocks' recency into their files' times, so that it survives a restart. */
export class RecencyKeeper {
  constructor(private readonly options: RecencyKeeperOptions) {}

  /**
   * Refreshes the files of the blocks touched since the last time, a few at a time. Stops at `untilMs` (monotonic) and at the
   * first error: recency is worth no trouble. What is left comes with the next refresh.
   */
  async refresh(volume: Volume, untilMs = Infinity): Promise<void> {
    const { used } = this.options.index.on(volume);
    const due = [...used];
    used.clear();
    let isOver = false;
    await forEachConcurrent(due, REFRESHES, async (block) => {
      isOver ||= this.options.clock.monotonicMs() > untilMs || !(await this.#refreshOne(block));
      if (isOver && !block.retired) used.add(block);
    });
  }

  async #refreshOne(block: CachedBlock): Promise<boolean> {
    if (block.retired) return true;
    const { gate } = block.volume;
    const { open, lastUsedMs } = block;
    open?.pin();
    try {
      if (open !== undefined) await gate.run(() => open.file.setModified(lastUsedMs));
      else await this.#refreshClosed(block);
      return true;
    } catch {
      return false;
    } finally {
      open?.unpin();
    }
  }

  #refreshClosed(block: CachedBlock): Promise<void> {
    return block.volume.gate.run(async () => {
      const file = await this.options.disk.open(block.path, "read");
      try {
        await file.setModified(block.lastUsedMs);
      } finally {
        await file.close();
      }
    });
  }
}
