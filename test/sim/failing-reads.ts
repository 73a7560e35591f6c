import { CacheError } from "@frontcache/proto";
import type { ClusterReaders } from "./cluster-readers.js";
import type { SimulatedCluster } from "./simulated-cluster.js";
import { geometry } from "./simulated-parts.js";

/** How the origin treats every request for an object. */
export type OriginFailure = "refuses" | "break" | "stall";

/** A read that has to fail. */
export interface FailingRead {
  readonly by: "member" | "client";
  /** Which member or client. */
  readonly index: number;
  readonly blocks: number;
  readonly fails: OriginFailure;
}

/** What a failed read of one block may cost its origin. */
const MAX_REQUESTS_PER_BLOCK = 6;

/** Reads of objects that nobody else reads, while the origin fails for them: each costs a bounded number of origin requests. */
export class FailingReads {
  readonly #cluster: SimulatedCluster;
  readonly #readers: ClusterReaders;

  readonly broken: string[] = [];
  #count = 0;
  #running = 0;
  /** By URL: requests since the read failed. */
  readonly #after = new Map<string, number>();

  constructor(cluster: SimulatedCluster, readers: ClusterReaders) {
    this.#cluster = cluster;
    this.#readers = readers;
  }

  start({ by, index, blocks, fails }: FailingRead): void {
    const { objects, troubles, time } = this.#cluster;
    const { originFaults, disturbances } = troubles;
    const url = `s3://bucket/failing-${this.#count++}`;
    const length = (blocks - 0.5) * geometry.blockBytes;
    objects.putRamp(url, length, 0);
    const startedMs = time.monotonicMs();
    let requests = 0;
    const rule = fails === "refuses" ? ({ error: "UNAVAILABLE" } as const) : { body: { afterBytes: 0, how: fails } };
    originFaults.place({
      ...rule,
      when: (call) => {
        if (call.url !== url) return false;
        requests++;
        if (this.#after.has(url)) this.#after.set(url, this.#after.get(url)! + 1);
        return true;
      },
    });
    const reading = this.#readers.readOnce(by, index, { url, version: undefined, offset: 0, length });
    if (reading === undefined) return;
    this.#running++;
    void reading.then((error) => {
      this.#running--;
      // A member that was lost had others do its work again.
      if (disturbances.during(startedMs, time.monotonicMs())) return;
      const what = `a read of ${blocks} blocks by a ${by}, whose origin ${fails}`;
      if (error === undefined) this.broken.push(`${what}, succeeded`);
      else if (requests > blocks * MAX_REQUESTS_PER_BLOCK)
        this.broken.push(`${what}, cost ${requests} origin requests: ${CacheError.from(error).message}`);
      this.#after.set(url, 0);
    });
  }

  /** What is wrong at rest. */
  faults(): string[] {
    const late = [...this.#after].filter(([, requests]) => requests > 0);
    const faults = late.map(([url, requests]) => `${requests} origin requests for ${url} after its read had failed`);
    if (this.#running > 0) faults.push(`${this.#running} reads that had to fail never ended`);
    return [...this.broken, ...faults];
  }
}
