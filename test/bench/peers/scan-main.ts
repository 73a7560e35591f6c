// A client that scans: reads blocks of 16 MiB in order, several concurrently, at a given rate, until it receives a message.
import { CacheClient } from "@frontcache/client";

/** The object to scan, and the rate. */
export interface ScanOrder {
  readonly endpoint: string;
  readonly url: string;
  readonly version: string;
  readonly bytes: number;
  readonly bytesPerSecond: number;
}

const READ_BYTES = 16 << 20;
const CONCURRENCY = 4;

async function scan({ endpoint, url, version, bytes, bytesPerSecond }: ScanOrder): Promise<void> {
  const client = await CacheClient.connect({ endpoint });
  const beganMs = performance.now();
  let [read, next, stopped] = [0, 0, false];
  process.once("message", () => {
    stopped = true;
  });
  const readInTurn = async (): Promise<void> => {
    const into = Buffer.alloc(READ_BYTES);
    while (!stopped) {
      const at = next++ * READ_BYTES;
      const dueMs = beganMs + (at / bytesPerSecond) * 1e3;
      const waitMs = dueMs - performance.now();
      if (waitMs > 1) await new Promise((resolve) => setTimeout(resolve, waitMs));
      read += (await client.readRange(url, at % bytes, READ_BYTES, version, { into })).length;
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, readInTurn));
  process.send!({ bytesPerSecond: (read / (performance.now() - beganMs)) * 1e3 });
  await client.close();
}

process.once("message", (order: ScanOrder) => void scan(order));
process.once("disconnect", () => process.exit(0));
process.send!("ready");
