import { CacheError, parseObjectUrl } from "@frontcache/proto";
import { ANONYMOUS } from "@frontcache/server/testing";
import type { ReadModel } from "./read-model.js";
import type { SimulatedCluster } from "./simulated-cluster.js";
import type { MemberProcess } from "./simulated-member.js";
import type { PutVersion, VersionHistory } from "./version-history.js";

/** Clients that write objects through members. What a write is acknowledged with holds for all reads that start afterwards. */
export class ClusterWriters {
  readonly #cluster: SimulatedCluster;
  readonly #history: VersionHistory;
  readonly #model: ReadModel;
  readonly #running = new Map<symbol, MemberProcess>();
  /**
   * When writes began that the origin has not taken, the earliest one first; by URL and content type, which is another one for each
   * PUT.
   */
  readonly #begunMs = new Map<string, number[]>();

  constructor(cluster: SimulatedCluster, history: VersionHistory, model: ReadModel) {
    this.#cluster = cluster;
    this.#history = history;
    this.#model = model;
    const { onDeath } = cluster;
    cluster.onDeath = (process) => {
      onDeath(process);
      for (const [write, through] of this.#running) if (through === process) this.#running.delete(write);
    };
    cluster.objects.onWritten = (url, object) => {
      const nowMs = cluster.time.nowMs();
      if (object === undefined) {
        history.delete(url, nowMs);
        this.#taken(url, undefined);
        return;
      }
      const { version, objectSize: size, contentType } = object.info;
      const first = Buffer.alloc(Math.min(1, size));
      object.copy(0, first);
      history.put(url, { version, size, seed: first[0] ?? 0, contentType }, nowMs);
      this.#taken(url, contentType);
    };
  }

  /** Writes a ramp, or deletes the object, through a member. */
  write(index: number, url: string, bytes: Buffer | undefined, contentType: string): void {
    const { process } = this.#cluster.servingAt(index) ?? {};
    if (process === undefined) return;
    const write = Symbol(url);
    this.#running.set(write, process);
    const since = this.#history.lastEra(url);
    const begun = nameOf(url, bytes === undefined ? undefined : contentType);
    this.#begunMs.set(begun, [...(this.#begunMs.get(begun) ?? []), this.#cluster.time.nowMs()]);
    const ref = parseObjectUrl(url);
    const asked = process.cache.ask({
      kind: "write",
      ref,
      method: bytes === undefined ? "DELETE" : "PUT",
      query: [],
      headers: bytes === undefined ? [] : [["content-type", contentType]],
      grants: [],
      changes: [ref],
      body: bytes ?? Buffer.alloc(0),
      mayRepeat: false,
      principal: ANONYMOUS,
      signal: new AbortController().signal,
    });
    const ended = process.calls.begin();
    asked
      .finally(() => process.options.clock.awake())
      .finally(ended)
      .then(
        (answer) => {
          if (!this.#running.delete(write)) return;
          const version = answer.headers.find(([name]) => name === "etag")?.[1].replaceAll('"', "");
          this.#model.acknowledged(url, (put: PutVersion | undefined) => put?.version === version, since);
        },
        (error: unknown) => {
          if (this.#running.delete(write)) this.#judge(url, CacheError.from(error));
        },
      );
  }

  /** What is left when all has come to its end. */
  faults(): string[] {
    return this.#running.size === 0 ? [] : [`${this.#running.size} writes have not ended`];
  }

  #taken(url: string, contentType: string | undefined): void {
    const begunMs = this.#begunMs.get(nameOf(url, contentType))?.shift();
    if (begunMs !== undefined) this.#model.taken(url, begunMs);
  }

  #judge(url: string, { code, message }: CacheError): void {
    if (code !== "UNAVAILABLE" && code !== "CANCELLED")
      this.#model.broken.push(`write of ${url}: failed with ${code}: ${message}`);
  }
}

/** Writes of one name are deletions of one object, or one PUT. */
function nameOf(url: string, contentType: string | undefined): string {
  return `${contentType ?? "deletion"} ${url}`;
}
