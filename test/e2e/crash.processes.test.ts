import { describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { connectClient, MemberProcess, temporaryDirectory } from "./member-process.js";

const MiB = 1 << 20;

describe("kill -9 during fills", () => {
  it("loses no complete block, and never causes a wrong byte", async () => {
    await using origin = await S3Emulator.start();
    await using directory = await temporaryDirectory();
    const complete = origin.putRamp("bucket", "complete", 48 * MiB, 1);
    const headers = { "x-amz-meta-mtime": "1700000000.123", "cache-control": "max-age=60" };
    origin.put("bucket", "described", "text", { contentType: "text/csv", headers });
    const cut = origin.putRamp("bucket", "cut", 160 * MiB, 2);
    const serve = (): Promise<MemberProcess> =>
      MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path });

    {
      await using member = await serve();
      await using client = await connectClient({ endpoint: member.grpc });
      await client.readRange("s3://bucket/complete", 0, 48 * MiB, complete);
      await expect.poll(async () => (await client.stat("s3://bucket/complete", complete)).cachedBytes).toBe(48 * MiB);
      await client.readRange("s3://bucket/described", 0, 4);
      await expect.poll(async () => (await client.stat("s3://bucket/described")).cachedBytes).toBe(4);
      // The origin is so slow that the fills of ten blocks are running when the member is killed.
      origin.faults.place({ bytesPerSecond: 20 * MiB });
      const sentBefore = origin.traffic.bytesSent;
      const lost = client.readRange("s3://bucket/cut", 0, 160 * MiB, cut).catch((error) => error.code);
      await expect.poll(() => origin.traffic.bytesSent - sentBefore).toBeGreaterThan(30 * MiB);
      await member.kill();
      expect(await lost).toBe("UNAVAILABLE");
    }

    origin.faults.clear();
    await using member = await serve();
    await using client = await connectClient({ endpoint: member.grpc });
    origin.traffic.reset();
    const bytes = await client.readRange("s3://bucket/complete", 0, 48 * MiB, complete);
    expect(bytes.equals(rampBytes(0, 48 * MiB, 1))).toBe(true);
    expect(origin.traffic.requests).toEqual({});
    // The headers came back with the block, and the origin does not answer.
    const lift = origin.faults.place({ error: { status: 503, code: "ServiceUnavailable" } });
    const described = await fetch(`http://${member.http}/s3/bucket/described`);
    lift();
    expect([described.status, await described.text()]).toEqual([200, "text"]);
    expect(Object.fromEntries(described.headers)).toMatchObject({ "content-type": "text/csv", ...headers });
    const again = await client.readRange("s3://bucket/cut", 0, 160 * MiB, cut);
    expect(again.equals(rampBytes(0, 160 * MiB, 2))).toBe(true);
    expect(origin.traffic.bytesSent).toBeLessThanOrEqual(160 * MiB);
    expect(await member.stop()).toBe(0);
  });
});
