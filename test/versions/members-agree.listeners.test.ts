import { describe, expect, it } from "vitest";
import { namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";

/** What one member answers to the five ways of asking for an object without a version. */
async function answersOf(cluster: Cluster, name: string): Promise<Record<string, string>> {
  const url = `http://${cluster.hostOf(name)}:${cluster.port + 1}/s3/bucket/object`;
  const ask = async (init: RequestInit): Promise<string> => {
    const response = await fetch(url, init);
    return `${response.status} ${response.headers.get("etag")} ${await response.text()}`;
  };
  const { version } = await cluster.talk(name, (client) => {
    return new Promise<{ version: string }>((resolve, reject) => {
      const question = { key: "s3://bucket/object", version: "", forwarded: false, checksums: false };
      client.stat(question, (error, answer) => (error === null ? resolve(answer) : reject(error)));
    });
  });
  return {
    version,
    head: await ask({ method: "HEAD" }),
    suffix: await ask({ headers: { Range: "bytes=-3" } }),
    conditional: await ask({ headers: { "If-None-Match": '"another"' } }),
    ranged: await ask({ headers: { Range: "bytes=0-2" } }),
    whole: await ask({}),
  };
}

describe("two members, one of which owns an object that is overwritten", () => {
  it("answer alike to HEAD, stat, suffix, conditional, ranged and whole reads as soon as the owner knows the new version", async () => {
    await using cluster = await Cluster.start({ processes: [], names: namesOf(2), flags: ["--revalidate-after", "1h"] });
    const [one, other] = cluster.names as [string, string];
    cluster.origin.put("bucket", "object", "the old text");
    const before = await answersOf(cluster, one);
    expect(before.whole).toContain("the old text");
    expect(await answersOf(cluster, other)).toEqual(before);

    const version = cluster.origin.put("bucket", "object", "a newer text");
    const list = await cluster.listedBy(one, cluster.names);
    const owner = list.owner("s3://bucket/object", 0)!.name;
    const another = owner === one ? other : one;
    // The owner learns of it: what it remembers is dropped, its next read asks the origin.
    await cluster.talk(owner, (client) => {
      return new Promise<void>((resolve, reject) => {
        const request = { key: "s3://bucket/object", version: "", prefix: false, forwarded: true };
        client.evict(request, (error) => (error === null ? resolve() : reject(error)));
      });
    });
    const known = await answersOf(cluster, owner);
    expect(known).toMatchObject({ version, head: `200 "${version}" `, suffix: `206 "${version}" ext` });
    expect(await answersOf(cluster, another)).toEqual(known);
  });
});
