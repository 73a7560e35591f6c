import { readdirSync, readFileSync } from "node:fs";
import type { MemberProcess } from "../e2e/member-process.js";

/** What a process holds of its machine, as the kernel tells it. */
export interface Resources {
  readonly descriptors: number;
  readonly mappedBlocks: number;
  readonly threads: number;
}

/** Looks at a member from outside. */
export function resourcesOf({ pid }: MemberProcess): Resources {
  const mapped = readFileSync(`/proc/${pid}/maps`, "utf8")
    .split("\n")
    .filter((line) => line.includes(".blk"));
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    mappedBlocks: mapped.length,
    threads: readdirSync(`/proc/${pid}/task`).length,
  };
}

/** Memory of a process over time: a sample whenever asked, bytes that are no pages of mapped files. */
export class MemoryCurve {
  readonly #samples: { readonly atMs: number; readonly bytes: number }[] = [];

  add(atMs: number, bytes: number): void {
    this.#samples.push({ atMs, bytes });
  }

  /** Mean of the samples of a time. */
  meanBytes(fromMs: number, toMs: number): number {
    const within = this.#samples.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
    return within.reduce((sum, { bytes }) => sum + bytes, 0) / within.length;
  }
}
