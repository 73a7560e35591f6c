import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostOf, namesOf } from "./addresses.js";
import { Cluster } from "./cluster.js";

const MEMBERS = 3;
const VALUES = 60;

const bodyOf = (i: number): string => `value ${i} `.repeat(1 + ((i * 37) % 400));

/** Values: objects without an origin, written and read by any S3 client. */
describe("values kept by two of three members", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start({
      names: namesOf(MEMBERS),
      processes: ["cache-1"],
      flags: ["--cache-bucket", "builds", "--cache-bucket", "short:1h"],
    });
  });

  afterAll(() => cluster?.[Symbol.asyncDispose]());

  const url = (member: number, key: string, bucket = "builds"): string =>
    `http://${hostOf(member % MEMBERS)}:${cluster.port + 1}/s3/${bucket}/${key}`;

  async function read(member: number, key: string): Promise<string> {
    const response = await fetch(url(member, key));
    const text = await response.text();
    return response.status === 200 ? text : `status ${response.status}`;
  }

  /** Copies of values on the running members, by their metrics. */
  async function copies(members: readonly number[]): Promise<number> {
    const counts = members.map(async (member) => {
      const text = await (await fetch(`http://${hostOf(member)}:${cluster.port + 1}/metrics`)).text();
      return Number(/^frontcache_values(?:\{[^}]*\})? (\d+)/m.exec(text)![1]);
    });
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  it("are read through every member, in whole and in ranges, with their metadata", async () => {
    const headers = { "content-type": "text/x-log", "x-amz-meta-job": "17", "x-amz-meta-frontcache-ttl": "600" };
    const put = await fetch(url(0, "dir/a b"), { method: "PUT", body: "0123456789", headers });
    expect([put.status, await put.text()]).toEqual([200, ""]);
    for (let member = 0; member < MEMBERS; member++) {
      const response = await fetch(url(member, "dir/a b"), { headers: { range: "bytes=2-4" } });
      expect([response.status, await response.text()]).toEqual([206, "234"]);
      expect(response.headers.get("content-type")).toBe("text/x-log");
      expect(response.headers.get("x-amz-meta-job")).toBe("17");
      expect(response.headers.get("etag")).toBe(put.headers.get("etag"));
      const listing = await (await fetch(`${url(member, "")}?list-type=2&prefix=dir/`)).text();
      expect(listing).toContain("<Key>dir/a b</Key><");
      expect((await fetch(url(member, "dir/none"))).status).toBe(404);
    }
    expect((await fetch(url(1, "dir/a b"), { method: "DELETE" })).status).toBe(204);
    for (let member = 0; member < MEMBERS; member++) expect(await read(member, "dir/a b")).toBe("status 404");
    expect((await fetch(url(1, "key", "others"), { method: "PUT", body: "x" })).status).toBe(405);
  });

  it("are uploaded in parts through different members", async () => {
    const parts = [Buffer.alloc(300_000, "a"), Buffer.alloc(5_000_000, "b"), Buffer.from("end")];
    const begun = await (await fetch(`${url(0, "parts")}?uploads`, { method: "POST" })).text();
    const uploadId = /<UploadId>(\w+)</.exec(begun)![1]!;
    const tags = await Promise.all(
      parts.map(async (body, i) => {
        const query = `partNumber=${i + 1}&uploadId=${uploadId}`;
        const response = await fetch(`${url(i, "parts")}?${query}`, { method: "PUT", body: new Uint8Array(body) });
        return response.headers.get("etag")!;
      }),
    );
    const named = tags.map((tag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${tag}</ETag></Part>`).join("");
    const completed = await fetch(`${url(1, "parts")}?uploadId=${uploadId}`, {
      method: "POST",
      body: `<CompleteMultipartUpload>${named}</CompleteMultipartUpload>`,
    });
    expect([completed.status, await completed.text()]).toEqual([200, expect.stringContaining("<Key>parts</Key>")]);
    const response = await fetch(url(2, "parts"));
    expect(Buffer.from(await response.arrayBuffer()).equals(Buffer.concat(parts))).toBe(true);
    expect((await fetch(`${url(0, "parts")}?uploadId=${uploadId}`, { method: "DELETE" })).status).toBe(404);
    await fetch(url(0, "parts"), { method: "DELETE" });
  });

  it("survive the death of one member, which the others replace, and its return", async () => {
    for (let i = 0; i < VALUES; i++) {
      const { status } = await fetch(url(i, `v${i}`), { method: "PUT", body: bodyOf(i) });
      expect(status).toBe(200);
    }
    await cluster.process("cache-1").kill();
    const living = [0, 2];
    for (let i = 0; i < VALUES; i++) expect(await read(living[i % 2]!, `v${i}`)).toBe(bodyOf(i));
    await expect.poll(() => copies(living), { timeout: 60_000 }).toBe(2 * VALUES);
    expect((await fetch(url(0, "v0"), { method: "DELETE" })).status).toBe(204);
    await cluster.startAgain("cache-1");
    expect(await read(1, "v0")).toBe("status 404");
    for (let i = 1; i < VALUES; i++) expect(await read(1, `v${i}`)).toBe(bodyOf(i));
    await expect.poll(() => copies([0, 1, 2]), { timeout: 60_000 }).toBe(2 * (VALUES - 1));
  });
});
