import { once } from "node:events";
import type { MemberList } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { type ClientReadableStream, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GrpcFixture } from "../../testing/grpc-fixture.js";

let member: GrpcFixture;

beforeEach(async () => {
  member = await GrpcFixture.open({ starting: true });
});

afterEach(() => member[Symbol.asyncDispose]());

/** A list of so many members, distinguished by its hash. */
function listOf(hash: string, members = 1): MemberList {
  const named = Array.from({ length: members }, (_, i) => ({ name: `m${i}`, grpcAddr: `10.0.0.1:${i}`, httpAddr: "" }));
  return { members: named, hash, blockBytes: 1, name: "self" };
}

function publish(list: MemberList): void {
  for (const listening of member.cache.memberListeners) listening(list);
}

function hashesOf(watch: ClientReadableStream<MemberList>): string[] {
  const hashes: string[] = [];
  watch.on("data", (list: MemberList) => hashes.push(list.hash));
  return hashes;
}

describe("a watch of the members", () => {
  it("sends the current list and each new one, until its caller disconnects", async () => {
    member.cache.memberList = listOf("first", 3);
    member.serve();
    const watch = member.client.watchMembers({}).on("error", () => {});
    const [first] = await once(watch, "data");
    expect(first).toEqual(member.cache.memberList);
    const hashes = hashesOf(watch);
    publish(listOf("second"));
    await eventually(() => expect(hashes).toEqual(["second"]));
    publish(listOf("third"));
    await eventually(() => expect(hashes).toEqual(["second", "third"]));
    watch.cancel();
    await eventually(() => expect(member.cache.memberListeners.size).toBe(0));
  });

  it("ends without an error when the listener closes, and does not delay the drain", async () => {
    member.serve();
    const watch = member.client.watchMembers({});
    const hashes = hashesOf(watch);
    await eventually(() => expect(hashes).toHaveLength(1));
    expect(member.listener.runningCalls).toBe(0);
    const ended = once(watch, "end");
    member.listener.announceShutdown();
    publish(listOf("while closing"));
    await eventually(() => expect(hashes.at(-1)).toBe("while closing"));
    void member.listener.close();
    await ended;
    expect(member.cache.memberListeners.size).toBe(0);
  });

  it("buffers one list for a caller that does not read, and then sends the newest", async () => {
    member.serve();
    const watch = member.client
      .watchMembers({})
      .on("error", () => {})
      .pause();
    await eventually(() => expect(member.cache.memberListeners.size).toBe(1));
    // Lists of half a megabyte: a few of them fill the window of a stream that nobody reads.
    const rounds = 60;
    for (let round = 1; round <= rounds; round++) {
      publish(listOf(`${round}`, 20_000));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const hashes = hashesOf(watch);
    watch.resume();
    await eventually(() => expect(hashes.at(-1)).toBe(`${rounds}`));
    expect(hashes.length).toBeLessThan(rounds / 2);
    watch.cancel();
  });

  it("is rejected with UNAVAILABLE while the member starts", async () => {
    const watch = member.client.watchMembers({});
    const [error] = (await once(watch, "error")) as [ServiceError];
    expect(error.code).toBe(status.UNAVAILABLE);
  });
});
