import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** What is requested: hot objects, the most popular one first, and objects that are missing in the cache. */
export interface MixedOrder {
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  /** Requests per second that are due, whether or not earlier ones were answered. Absent: each connection sends one after the other. */
  readonly perSecond?: number;
  readonly objects: readonly { readonly path: string; readonly size: number }[];
  /** The exponent of Zipf's law. */
  readonly zipf: number;
  /** The share of requests for missing objects. */
  readonly missShare: number;
  /** The path of missing objects; `{n}` is replaced by a number. */
  readonly missPath: string;
  /** Hits of at most this many bytes are small. */
  readonly smallBytes: number;
}

/** One answered request. */
export interface Outcome {
  readonly kind: "small" | "large" | "miss";
  /** From when it was due until its last byte. */
  readonly ms: number;
}

export interface MixedResult {
  readonly outcomes: readonly Outcome[];
  /** Requests that were due while all connections were in use. Their latencies contain the wait. */
  readonly waited: number;
  readonly seconds: number;
  /** CPU time of the load generator per second: near 1 it measures itself. */
  readonly cpuShare: number;
  /** Its event loop's delay of timers of 1 ms, which all latencies contain. */
  readonly loopP99Ms: number;
}

/** Runs a mixed load in a process of its own. */
export async function mixedLoad(order: MixedOrder): Promise<MixedResult> {
  const child = fork(join(import.meta.dirname, "mixed-load-main.ts"), { execArgv: ["--import", "tsx"] });
  await once(child, "message");
  child.send(order);
  const [result] = (await once(child, "message")) as [MixedResult];
  child.disconnect();
  return result;
}
