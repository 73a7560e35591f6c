import { beforeAll, describe, expect, it } from "vitest";
import { namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";

const MIB = 1 << 20;
/** Two blocks, the second one not full. */
const OBJECT_BYTES = 20 * MIB;
/** As boto3's download_file. */
const RANGE_BYTES = 8 * MIB;

let older: Buffer;
let newer: Buffer;

beforeAll(() => {
  older = Buffer.alloc(OBJECT_BYTES, "older ");
  newer = Buffer.alloc(OBJECT_BYTES + MIB, "newer! ");
});

/** Sends each request to the next member, as a Service does. */
class RoundRobin {
  readonly #cluster: Cluster;
  #next = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  send(key: string, init: RequestInit = {}): Promise<Response> {
    const { names, port } = this.#cluster;
    const host = this.#cluster.hostOf(names[this.#next++ % names.length]!);
    return fetch(`http://${host}:${port + 1}/s3/bucket/${key}`, init);
  }

  /** The whole object by one request. Undefined: the answer was aborted, because the object had changed. */
  async read(key: string): Promise<Buffer | undefined> {
    const response = await this.send(key);
    expect(response.status).toBe(200);
    return response.arrayBuffer().then(
      (bytes) => Buffer.from(bytes),
      () => undefined,
    );
  }

  /**
   * The whole object as boto3 downloads it: a HEAD, then ranges of the version that the HEAD named. `between` runs before the last
   * range. Undefined: a range was refused, because the object had changed.
   */
  async download(key: string, between: () => void = () => {}): Promise<Buffer | undefined> {
    const { headers } = await this.send(key, { method: "HEAD" });
    const [etag, length] = [headers.get("etag")!, Number(headers.get("content-length"))];
    const pieces: Buffer[] = [];
    for (let start = 0; start < length; start += RANGE_BYTES) {
      if (start + RANGE_BYTES >= length) between();
      const range = `bytes=${start}-${Math.min(start + RANGE_BYTES, length) - 1}`;
      const response = await this.send(key, { headers: { Range: range, "If-Match": etag } });
      const bytes = Buffer.from(await response.arrayBuffer());
      if (response.status === 412) return undefined;
      expect(response.status).toBe(206);
      pieces.push(bytes);
    }
    return Buffer.concat(pieces);
  }
}

describe("an object that is overwritten at the origin, read through three members in turn at the default settings", () => {
  it("is whole at the second read at the latest when a part of the older version is cached", async () => {
    await using cluster = await Cluster.start({ processes: [], names: namesOf(3) });
    const service = new RoundRobin(cluster);
    for (const key of ["one", "two"]) {
      cluster.origin.put("bucket", key, older);
      for (let member = 0; member < 3; member++) {
        const response = await service.send(key, { headers: { Range: `bytes=0-${MIB - 1}` } });
        expect(Buffer.from(await response.arrayBuffer()).equals(older.subarray(0, MIB))).toBe(true);
      }
      cluster.origin.put("bucket", key, newer);
      const first = await service.read(key);
      const second = first ?? (await service.read(key));
      expect(second?.equals(newer)).toBe(true);
      for (let member = 0; member < 3; member++) expect((await service.read(key))?.equals(newer)).toBe(true);
    }
  });

  it("is downloaded by a HEAD and ranges with If-Match when the client tries again", async () => {
    await using cluster = await Cluster.start({ processes: [], names: namesOf(3) });
    const service = new RoundRobin(cluster);
    for (const key of ["one", "two"]) {
      cluster.origin.put("bucket", key, older);
      // The last range is not cached when the object is overwritten: the origin refuses the older version.
      const first = await service.download(key, () => cluster.origin.put("bucket", key, newer));
      expect(first?.equals(older) ?? true).toBe(true);
      expect((await service.download(key))?.equals(newer)).toBe(true);
      expect((await service.download(key))?.equals(newer)).toBe(true);
    }
  });
});
