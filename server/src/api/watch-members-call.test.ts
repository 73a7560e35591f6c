import { once } from "node:events";
import { CacheServiceClient, type MemberList } from "@frontcache/proto";
import { type ClientReadableStream, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { formatHostPort } from "../config/addresses.js";
import { openDoor } from "../doors/doors.js";
import { systemClock } from "../runtime/clock.js";
import { silentLog } from "../runtime/log.js";
import { ManualClock } from "../runtime/manual-clock.js";
import { GrpcListener } from "./grpc-listener.js";
import { Clients, noLimits } from "./limits/clients.js";
import { MemoryReader } from "./memory-reader.js";

let clock: ManualClock;
let reader: MemoryReader;
let listener: GrpcListener;
let client: CacheServiceClient;

beforeEach(async () => {
  clock = new ManualClock();
  reader = new MemoryReader();
  listener = await GrpcListener.open({
    listen: { host: "127.0.0.1", port: 0 },
    drainMs: 10_000,
    door: openDoor,
    clients: new Clients(noLimits, systemClock),
    clock,
    log: silentLog,
  });
  client = new CacheServiceClient(formatHostPort(listener.address), credentials.createInsecure());
});

afterEach(async () => {
  client.close();
  const closed = listener.close();
  clock.advance(10_000);
  await closed;
  expect(clock.waits).toBe(0);
  expect(reader.memberListeners.size).toBe(0);
});

/** A list of so many members, told apart by its hash. */
function listOf(hash: string, members = 1): MemberList {
  const named = Array.from({ length: members }, (_, i) => ({ name: `m${i}`, grpcAddr: `10.0.0.1:${i}`, httpAddr: "" }));
  return { members: named, hash, blockBytes: 1, name: "self" };
}

function tell(list: MemberList): void {
  for (const listening of reader.memberListeners) listening(list);
}

function hashesOf(watch: ClientReadableStream<MemberList>): string[] {
  const hashes: string[] = [];
  watch.on("data", (list: MemberList) => hashes.push(list.hash));
  return hashes;
}

describe("a watch of the members", () => {
  it("tells the list now and each new one, until its caller leaves", async () => {
    reader.memberList = listOf("first", 3);
    listener.serve(reader);
    const watch = client.watchMembers({}).on("error", () => {});
    const [first] = await once(watch, "data");
    expect(first).toEqual(reader.memberList);
    const hashes = hashesOf(watch);
    tell(listOf("second"));
    await vi.waitFor(() => expect(hashes).toEqual(["second"]));
    tell(listOf("third"));
    await vi.waitFor(() => expect(hashes).toEqual(["second", "third"]));
    watch.cancel();
    await vi.waitFor(() => expect(reader.memberListeners.size).toBe(0));
  });

  it("ends in good order when the listener closes, and holds up no drain", async () => {
    listener.serve(reader);
    const watch = client.watchMembers({});
    const hashes = hashesOf(watch);
    await vi.waitFor(() => expect(hashes).toHaveLength(1));
    expect(listener.runningCalls).toBe(0);
    const ended = once(watch, "end");
    listener.leave();
    tell(listOf("while leaving"));
    await vi.waitFor(() => expect(hashes.at(-1)).toBe("while leaving"));
    void listener.close();
    await ended;
    expect(reader.memberListeners.size).toBe(0);
  });

  it("holds one list for a caller that does not read, and gives it the newest when it does", async () => {
    listener.serve(reader);
    const watch = client
      .watchMembers({})
      .on("error", () => {})
      .pause();
    await vi.waitFor(() => expect(reader.memberListeners.size).toBe(1));
    // Lists of half a megabyte: a few of them fill the window of a stream that nobody reads.
    const rounds = 60;
    for (let round = 1; round <= rounds; round++) {
      tell(listOf(`${round}`, 20_000));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const hashes = hashesOf(watch);
    watch.resume();
    await vi.waitFor(() => expect(hashes.at(-1)).toBe(`${rounds}`), 10_000);
    expect(hashes.length).toBeLessThan(rounds / 2);
    watch.cancel();
  });

  it("is told that a member which is starting can't answer", async () => {
    const watch = client.watchMembers({});
    const [error] = (await once(watch, "error")) as [ServiceError];
    expect(error.code).toBe(status.UNAVAILABLE);
  });
});
