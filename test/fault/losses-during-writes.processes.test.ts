import type { CacheServiceClient } from "@frontcache/client/grpc";
import { rampBytes } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostOf, namesOf } from "../e2e/addresses.js";
import { Cluster } from "../e2e/cluster.js";
import { Hold, type HoldPoint } from "../emulators/faults.js";

/** Longer than what a member receives before it sends it on, and of several parts of the small blocks of these members. */
const [BEFORE, AFTER] = [rampBytes(0, 1_200_000, 1), rampBytes(0, 1_300_000, 2)];

type Operation = "PUT" | "DELETE" | "Complete";
type Lost = "the member that takes it" | "the object's home" | "the home, which takes it itself" | "the client";

/** Who is lost during which operation, and where the origin holds it then. All combinations are simulated: losses-during-writes.test.ts. */
const CASES: [Operation, Lost, HoldPoint][] = [
  ["PUT", "the member that takes it", "head"],
  ["PUT", "the home, which takes it itself", "body"],
  ["PUT", "the object's home", "answer"],
  ["PUT", "the client", "head"],
  ["DELETE", "the member that takes it", "body"],
  ["Complete", "the object's home", "body"],
  ["Complete", "the client", "answer"],
];

describe("a write through three members of which one is killed, or whose client is", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start({ names: namesOf(3), flags: ["--writes", "anonymous"] });
  });

  afterAll(() => cluster?.[Symbol.asyncDispose]());

  const url = (name: string, path: string): string =>
    `http://${hostOf(cluster.names.indexOf(name))}:${cluster.port + 1}/s3/bucket/${path}`;

  /** The member that decides about an object. */
  async function homeOf(key: string): Promise<string> {
    const owner = (member: CacheServiceClient): Promise<string> =>
      new Promise((resolve, reject) =>
        member.lookupOwner({ key: `s3://bucket/${key}`, offset: 0 }, (error, owner) =>
          error === null ? resolve(owner.addr) : reject(error),
        ),
      );
    const address = await cluster.talk(cluster.names[0]!, owner);
    return cluster.names.find((name) => cluster.addressOf(name) === address)!;
  }

  async function ask(name: string, path: string, init: RequestInit = {}): Promise<Buffer> {
    const response = await fetch(url(name, path), init);
    const body = Buffer.from(await response.arrayBuffer());
    if (response.status === 404) return Buffer.from("missing");
    if (!response.ok) throw new Error(`status ${response.status}: ${body}`);
    return body;
  }

  /** Sends the last request of an operation. */
  async function prepare(operation: Operation, through: string, key: string): Promise<() => Promise<Buffer>> {
    if (operation === "PUT") return () => ask(through, key, { method: "PUT", body: AFTER, signal: client.signal });
    if (operation === "DELETE") return () => ask(through, key, { method: "DELETE", signal: client.signal });
    const created = await ask(through, `${key}?uploads`, { method: "POST" });
    const id = /<UploadId>(.*?)<\/UploadId>/.exec(String(created))![1]!;
    await ask(through, `${key}?uploadId=${id}&partNumber=1`, { method: "PUT", body: AFTER });
    const body = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>";
    return () => ask(through, `${key}?uploadId=${id}`, { method: "POST", body, signal: client.signal });
  }

  /** The client of the write. */
  let client = new AbortController();

  /** What the origin has of an object, in a word. */
  function stored(key: string): string {
    const object = cluster.origin.objects.get("bucket", key);
    return nameOf(object === undefined ? Buffer.from("missing") : Buffer.concat([...object.chunks(0, object.size, 1 << 20)]));
  }

  /** These members read what the origin has. */
  async function expectCurrent(key: string, names: readonly string[]): Promise<void> {
    const read = await Promise.all(names.map(async (name) => nameOf(await ask(name, key))));
    expect(read).toEqual(names.map(() => stored(key)));
  }

  it.each(CASES)("%s, %s is lost while the origin holds it at its %s: all members read what the origin has", async (...given) => {
    const [operation, lost, at] = given;
    const key = given.join("-").replaceAll(/\W+/g, "-");
    client = new AbortController();
    const home = await homeOf(key);
    const other = cluster.names.find((name) => name !== home)!;
    const writer = lost === "the home, which takes it itself" ? home : other;
    await ask(other, key, { method: "PUT", body: BEFORE });
    await expectCurrent(key, cluster.names);

    const send = await prepare(operation, writer, key);
    const hold = new Hold(at);
    const method = operation === "Complete" ? "POST" : operation;
    const remove = cluster.origin.faults.place({ hold, times: 1, when: (seen) => seen.method === method && seen.key === key });
    const sent = send().then(
      () => "acknowledged",
      () => "unknown",
    );
    await hold.reached;
    const killed = lost === "the client" ? undefined : lost === "the object's home" ? home : writer;
    if (killed === undefined) client.abort();
    else await cluster.kill(killed);
    // What the origin has not read when the member is killed, it never does.
    if (killed !== writer || at !== "head") hold.release();
    const outcome = await sent;
    if (killed === writer) expect(outcome).toBe("unknown");
    if (outcome === "acknowledged") expect(stored(key)).toBe(operation === "DELETE" ? "missing" : "after");
    if (killed === undefined) {
      // The write continues without its client, or is given up, if not all of its body had arrived.
      await hold.ended;
      await expectCurrent(key, cluster.names);
    } else {
      await expectCurrent(
        key,
        cluster.names.filter((name) => name !== killed),
      );
      await cluster.startAgain(killed);
    }
    remove();
    await ask(home, key, { method: "PUT", body: BEFORE });
    await expectCurrent(key, cluster.names);
  });
});

function nameOf(bytes: Buffer): string {
  if (bytes.equals(BEFORE)) return "before";
  if (bytes.equals(AFTER)) return "after";
  return bytes.length < 100 ? bytes.toString() : `${bytes.length} bytes that nobody wrote`;
}
