import { readdirSync, readFileSync } from "node:fs";
import type { MemberProcess } from "../e2e/member-process.js";

/** The resources of a process according to the kernel. */
export interface Resources {
  readonly descriptors: number;
  readonly mappedBlocks: number;
  readonly threads: number;
}

/** Measures a member's process. */
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

/** Memory samples of a process, without pages of mapped files, bytes. */
export class MemoryCurve {
  readonly #samples: { readonly atMs: number; readonly bytes: number }[] = [];

  add(atMs: number, bytes: number): void {
    this.#samples.push({ atMs, bytes });
  }

  /** Returns the mean of the samples in an interval. */
  meanBytes(fromMs: number, toMs: number): number {
    const within = this.#samples.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
    return within.reduce((sum, { bytes }) => sum + bytes, 0) / within.length;
  }
}
