import { eventually } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { hostOf, namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";
import { MemberInProcess } from "../e2e/member-in-process.js";
import { connectClient, temporaryDirectory } from "../e2e/member-process.js";
import { S3Emulator } from "../emulators/s3.js";
import { OverwrittenObject } from "./overwritten-object.js";
import { type ReaderKind, VersionReaders } from "./version-readers.js";

/** The first is followed by a restart in good order, the second by one after a crash. */
const RESTARTS = [13, 26];
const OVERWRITES = 40;
const READERS = 16;
/** Whole answers between one version and the next. */
const ANSWERS_EACH = 2;
const REVALIDATE_AFTER_MS = 300;

const kinds: readonly ReaderKind[] = [true, false].flatMap((versioned) =>
  [true, false].map((streamed) => ({ versioned, streamed })),
);

describe("an object that is overwritten 40 times under 16 readers of three members", () => {
  it("is never answered with bytes of two versions, or of another than was asked for, over restarts", async () => {
    await using cluster = await Cluster.start({
      names: namesOf(3),
      processes: ["cache-2"],
      flags: ["--revalidate-after", `${REVALIDATE_AFTER_MS}ms`],
    });
    const object = new OverwrittenObject(cluster.origin, "bucket", "object");
    object.overwrite();
    const clients = await Promise.all(cluster.names.map((name) => cluster.client(name)));
    const readers = new VersionReaders(object);
    const running = Array.from({ length: READERS }, (_, index) =>
      readers.run(clients[index % clients.length]!, kinds[index % kinds.length]!, index + 1),
    );

    const restarts: Promise<unknown>[] = [];
    for (let overwrites = 1; overwrites <= OVERWRITES; overwrites++) {
      await readers.more(ANSWERS_EACH);
      object.overwrite();
      if (overwrites === RESTARTS[0]) {
        restarts.push(cluster.shutDown("cache-1").then(() => cluster.join({ name: "cache-1", host: hostOf(1) })));
      }
      if (overwrites === RESTARTS[1]) restarts.push(cluster.kill("cache-2").then(() => cluster.startAgain("cache-2")));
    }
    await Promise.all(restarts);
    // Readers of all members, started again, and of the last version.
    await readers.more(20 * ANSWERS_EACH);
    readers.stop();
    await Promise.all(running);

    console.info(`${JSON.stringify(readers.tallies)}; at most ${Math.round(readers.stalestMs)} ms behind`);
    expect(readers.wrong).toEqual([]);
    for (const tally of Object.values(readers.tallies)) expect(tally.whole).toBeGreaterThan(0);
    for (const name of cluster.names) {
      const bytes = await (await cluster.client(name)).readRange(object.url, 0, 8 << 20, object.current.version);
      expect(bytes.length).toBe(object.current.size);
    }
  });
});

describe("a member that believes no version for longer than a millisecond", () => {
  it("answers with the new version at once, and with the cached one while the origin is down", async () => {
    await using origin = await S3Emulator.start();
    await using directory = await temporaryDirectory();
    const flags = ["--revalidate-after", "1ms"];
    await using member = await MemberInProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path, flags });
    await using client = await connectClient({ endpoint: member.grpc, attempts: 1 });
    const read = async (): Promise<string> => (await client.readRange("s3://bucket/small", 0, 10)).toString();
    origin.put("bucket", "small", "old");
    expect(await read()).toBe("old");
    const version = origin.put("bucket", "small", "new");
    expect(await read()).toBe("new");
    await eventually(async () => expect(await client.stat("s3://bucket/small", version)).toMatchObject({ cachedBytes: 3 }));
    await origin.close();
    expect(await read()).toBe("new");
    expect(await client.stat("s3://bucket/small")).toMatchObject({ version, objectSize: 3 });
    await expect(client.readRange("s3://bucket/other", 0, 10)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
