import { describe, expect, it } from "vitest";
import { MemberInProcess } from "../e2e/member-in-process.js";
import { temporaryDirectory } from "../e2e/member-process.js";
import { S3Emulator } from "../emulators/s3.js";

describe("a member that is allowed some buckets", () => {
  it("answers requests for all other buckets with 403 and sends no request to the origin", async () => {
    await using origin = await S3Emulator.start();
    await using directory = await temporaryDirectory();
    const flags = ["--allow-bucket", "s3://open", "--allow-bucket", "s3://team-*"];
    await using member = await MemberInProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path, flags });
    for (const bucket of ["open", "team-a", "closed"]) origin.put(bucket, "key", "bytes");
    const ask = async (path: string, method = "GET"): Promise<number> =>
      (await fetch(`http://${member.http}/s3/${path}`, { method })).status;

    expect(await ask("open/key")).toBe(200);
    expect(await ask("team-a/key")).toBe(200);
    origin.traffic.reset();
    const refused = [
      ask("closed/key"),
      ask("closed/key", "HEAD"),
      ask("closed", "HEAD"),
      ask("closed?list-type=2"),
      ask("opener/key"),
    ];
    expect(await Promise.all(refused)).toEqual([403, 403, 403, 403, 403]);
    expect(origin.traffic.requests).toEqual({});
  });
});
