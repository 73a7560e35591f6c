import { S3 } from "@aws-sdk/client-s3";
import { eventually } from "@frontcache/proto/testing";
import { expect, it } from "vitest";
import { namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";
import { Readers } from "../e2e/cluster-readers.js";
import { connectClient } from "../e2e/member-process.js";
import { readAll } from "../e2e/test-objects.js";

it("fails no read of a client with a fallback while all members are killed and started again", async () => {
  await using cluster = await Cluster.start({ names: namesOf(2) });
  const objects = cluster.put(2, 4);
  const { origin } = cluster;
  const s3 = new S3({
    endpoint: origin.endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  const events: string[] = [];
  await using client = await connectClient({
    endpoint: [cluster.addressOf("cache-1"), cluster.addressOf("cache-0")],
    fallback: { s3 },
    log: ({ event }) => void (event.startsWith("fallback-") && events.push(event)),
  });
  await readAll(client, objects);
  expect(client.fallbackReads().reads).toBe(0);

  const load = { readers: 4, bytes: 16 << 10 };
  await using readers = new Readers(
    // Every second read names no version.
    ({ url, version }, { offset, length }) => client.readRange(url, offset, length, offset % 2 === 0 ? version : ""),
    objects,
    load,
  );
  await readers.more(40);
  await Promise.all(cluster.names.map((name) => cluster.kill(name)));
  await eventually(() => expect(events).toContain("fallback-started"));
  await readers.more(100);

  // A service that starts now reads as well.
  await using late = await connectClient({ endpoint: cluster.addressOf("cache-0"), fallback: { s3 } });
  await readAll(late, objects);
  expect(late.fallbackReads().reads).toBeGreaterThan(0);

  const beganMs = performance.now();
  await Promise.all(cluster.names.map((name) => cluster.startAgain(name)));
  const startedMs = performance.now();
  await eventually(() => expect(events.at(-1)).toBe("fallback-ended"));
  const returnedMs = performance.now();
  console.info(
    `back at the cache after ${Math.round(returnedMs - startedMs)} ms, ${Math.round(returnedMs - beganMs)} with the start`,
  );
  await readers.more(40);
  const { failed, wrong } = await readers.stop();
  expect({ failed, wrong }).toEqual({ failed: [], wrong: 0 });
  s3.destroy();
});
