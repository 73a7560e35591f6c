import { sleep } from "@frontcache/proto/runtime";
import { type DiskOperation, MemoryDisk, systemError } from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";
import type { ProcessClock } from "./simulated-time.js";

/** Where a process dies: at the disk operation of that kind that comes as number `after`, counted from 0. */
export interface Failpoint {
  readonly operation: DiskOperation;
  readonly after: number;
}

const ERRORS = ["ENOSPC", "EIO", "EROFS", "EACCES", "EMFILE"];
/** What of a write is on the disk when the process dies in the middle of it, bytes. */
const TORN_BYTES = 300;

/** A simulated process's disk, with what its trouble does to every operation. */
export class TroubledDisk {
  readonly #chance: Chance;

  /** Chance of an operation to fail, and to take its time. */
  trouble = { fails: 0, waits: 0 };
  failpoint: (Failpoint & { readonly die: () => void }) | undefined;
  #disk: MemoryDisk;

  constructor(totalBytes: number, chance: Chance, nowMs: () => number) {
    this.#chance = chance;
    this.#disk = new MemoryDisk({ totalBytes, nowMs });
  }

  get files(): MemoryDisk {
    return this.#disk;
  }

  /** A process begins to use it. */
  serve(clock: ProcessClock): MemoryDisk {
    this.#disk.before = (operation, path) => this.#disturb(clock, operation, path);
    return this.#disk;
  }

  calm(): void {
    this.trouble = { fails: 0, waits: 0 };
    this.failpoint = undefined;
    this.#disk.foreignBytes = 0;
  }

  /** The process is dead: what it had under way never ends, and what is on the disk stays. */
  crash(): void {
    this.#disk = this.#disk.crash();
    this.failpoint = undefined;
  }

  /** Turns one bit of one file over, as a disk does that lies. Only while no process has its files checked already. */
  flipBit(): void {
    const paths = this.#disk.paths();
    if (paths.length === 0) return;
    const file = this.#disk.file(this.#chance.pick(paths));
    if (file.sizeBytes > 0) file.flipBit(this.#chance.below(file.sizeBytes), this.#chance.below(8));
  }

  async #disturb(clock: ProcessClock, operation: DiskOperation, path: string): Promise<undefined | number> {
    const { fails, waits } = this.trouble;
    if (this.failpoint !== undefined) {
      const partial = this.#approach(this.failpoint, operation);
      if (partial !== undefined) return partial;
    }
    if (this.#chance.happens(waits)) await sleep(clock, this.#chance.below(40));
    if (this.#chance.happens(fails) && operation !== "close")
      throw systemError(this.#chance.pick(ERRORS), `${operation} ${path}`);
    return undefined;
  }

  /** One operation nearer to the process's death. In a write a part may be done by then; nothing else is done after it. */
  #approach(failpoint: Failpoint & { readonly die: () => void }, operation: DiskOperation): Promise<never> | number | undefined {
    if (operation !== failpoint.operation) return undefined;
    if (failpoint.after > 0) {
      this.failpoint = { ...failpoint, after: failpoint.after - 1 };
      return undefined;
    }
    this.#disk.before = () => new Promise<never>(() => {});
    setImmediate(failpoint.die);
    return operation === "write" && this.#chance.happens(0.5) ? TORN_BYTES : new Promise<never>(() => {});
  }
}
