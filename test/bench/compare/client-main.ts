// The client of one checkout in a process of its own: runs the reads that messages order.
import { once } from "node:events";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { CacheClient, ConnectOptions } from "@frontcache/client";
import type { StageObject } from "../stage.js";

/** Reads until the time is over or, if `cold`, until each object has been read once. */
export interface ClientOrder {
  readonly objects: readonly StageObject[];
  readonly way: "readRange" | "stream";
  /** Bytes from the object's first byte. */
  readonly length: number;
  readonly concurrency: number;
  readonly ms: number;
  /** Each object is read once, and evicted after the last read. */
  readonly cold: boolean;
}

export interface ClientDone {
  readonly reads: number;
  readonly ms: number;
  /** CPU milliseconds of this process. */
  readonly cpuMs: number;
}

async function run(client: CacheClient, { objects, way, length, concurrency, ms, cold }: ClientOrder): Promise<ClientDone> {
  const memories = Array.from({ length: concurrency }, () => Buffer.alloc(way === "stream" ? 0 : length));
  const [begin, before] = [performance.now(), process.cpuUsage()];
  let [next, reads] = [0, 0];
  const isOver = (): boolean => performance.now() - begin >= ms || (cold && next === objects.length);
  const readInTurn = async (into: Buffer): Promise<void> => {
    while (!isOver()) {
      const { url, version } = objects[next++ % objects.length]!;
      let received = 0;
      if (way === "stream") {
        for await (const chunk of client.stream(url, 0, length, version, { reuse: true })) received += (chunk as Buffer).length;
      } else {
        received = (await client.readRange(url, 0, length, version, { into })).length;
      }
      if (received !== length) throw new Error(`received ${received} of ${length} bytes of ${url}`);
      reads++;
    }
  };
  await Promise.all(memories.map(readInTurn));
  const elapsed = performance.now() - begin;
  const { user, system } = process.cpuUsage(before);
  if (cold) for (const { url } of objects) await client.evict({ url });
  return { reads, ms: elapsed, cpuMs: (user + system) / 1e3 };
}

const [checkout, options] = process.argv.slice(2);
const entry = createRequire(join(checkout!, "server", "package.json")).resolve("@frontcache/client");
const { CacheClient: Client } = (await import(pathToFileURL(entry).href)) as { CacheClient: typeof CacheClient };
const client = await Client.connect(JSON.parse(options!) as ConnectOptions);
process.once("disconnect", () => process.exit(0));
process.send!("ready");
for (;;) {
  const [order] = (await once(process, "message")) as [ClientOrder];
  process.send!(await run(client, order));
}
