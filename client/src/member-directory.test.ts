import { CacheError, type MemberInfo, type MemberList, Membership } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { WatchedMembers } from "./member-directory.js";
import { CircuitBreaker } from "./members/circuit-breaker.js";
import { Unreachable, type WatchEnd } from "./members/ports.js";
import { RunningCall } from "./members/running-call.js";
import { FakeTransport } from "./testing/fake-transport.js";

const url = "s3://bucket/file";
const endpoint = "service:8080";
const MiB = 1 << 20;

function membership(names: readonly string[], blockBytes = 16 * MiB): Membership {
  const members: MemberInfo[] = names.map((name) => ({ name, grpcAddress: `${name}:8080` }));
  return Membership.of(members, blockBytes);
}

function setUp(endpoints: readonly string[] = [endpoint]) {
  const clock = new ManualClock(0);
  const transport = new FakeTransport({ version: "v1", size: 0 });
  const asked: string[] = [];
  /** The watch that runs. */
  const watch: {
    send: (list: Membership, hash?: string) => void;
    sendMessage: (list: MemberList) => void;
    end: (how: WatchEnd | CacheError) => void;
  } = {
    send: () => undefined,
    sendMessage: () => undefined,
    end: () => undefined,
  };
  transport.onWatch = (address, onMembers, { signal }) => {
    asked.push(address);
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      watch.send = (list, hash = list.hash) => onMembers({ ...list.toMessage("a"), hash });
      watch.sendMessage = onMembers;
      watch.end = (how) => (typeof how === "string" ? resolve(how) : reject(how));
    });
  };
  const openFor = { firstMs: 1_000, longestMs: 1_000 };
  const breaker = new CircuitBreaker({ clock, openFor, probe: async () => undefined });
  const call = new RunningCall({ clock, subject: "connecting", deadlineMs: 5_000 });
  const backoff = { firstMs: 100, longestMs: 1_000 };
  const members = new WatchedMembers({ endpoints, clock, connections: transport, breaker, backoff });
  const begun = members.connected(call).then(() => members);
  return { clock, transport, asked, watch, members, begun, call };
}

/** The list with what members say only to callers through a Unix socket. */
const withSocket = (list: Membership, httpSocket: string | undefined) => ({ ...list.toMessage("a"), httpSocket });

const addresses = (members: WatchedMembers, blockOffset = 0) =>
  members.addressesOf(url, blockOffset).map(({ grpcAddress }) => grpcAddress);
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("the watched member list", () => {
  it("asks the member behind a Unix socket for every block, by HTTP too if that has a socket, and others only after it", async () => {
    const socket = "unix:/run/frontcache/grpc.sock";
    const { watch, begun } = setUp([socket]);
    const list = membership(["a", "b", "c", "d", "e"]);
    watch.sendMessage(withSocket(list, "/run/frontcache/http.sock"));
    const members = await begun;
    for (let block = 0; block < 5; block++) {
      const blockOffset = block * list.blockBytes;
      const owners = [0, 1, 2, 3].map((rank) => list.owner(url, blockOffset, rank)!.grpcAddress);
      expect(addresses(members, blockOffset)).toEqual([socket, ...owners]);
    }
    expect(members.addressesOf(url, 0)[0]).toEqual({ grpcAddress: socket, httpAddress: "unix:/run/frontcache/http.sock" });
    for (const invalid of [undefined, "", "relative", `/${"a".repeat(200)}`]) {
      watch.sendMessage(withSocket(list, invalid));
      expect(members.addressesOf(url, 0)[0]).toEqual({ grpcAddress: socket });
    }
  });

  it("takes the HTTP socket of a member without ports from its list", async () => {
    const [grpcAddress, httpAddress] = ["unix:/run/grpc.sock", "unix:/run/http.sock"];
    const { watch, begun } = setUp([grpcAddress]);
    watch.send(Membership.of([{ name: "a", grpcAddress, httpAddress }], 16 * MiB));
    expect((await begun).addressesOf(url, 0)).toEqual([{ grpcAddress, httpAddress }]);
  });

  it("returns a block's owner first, then the next on the ring, then the endpoint, then two more", async () => {
    const { watch, begun } = setUp();
    const list = membership(["a", "b", "c", "d", "e"]);
    watch.send(list);
    const members = await begun;
    for (let block = 0; block < 20; block++) {
      const blockOffset = block * list.blockBytes;
      const owners = [0, 1, 2, 3].map((rank) => list.owner(url, blockOffset, rank)!.grpcAddress);
      expect(addresses(members, blockOffset)).toEqual([...owners.slice(0, 2), endpoint, ...owners.slice(2)]);
    }
    expect(members.members).toEqual(list.members);
    await members.close();
  });

  it("returns the endpoint once if it is a member, at that member's rank", async () => {
    const { watch, begun } = setUp();
    watch.send(Membership.of([{ name: "a", grpcAddress: endpoint }, ...membership(["b"]).members], 16 * MiB));
    const members = await begun;
    const orders = new Set(Array.from({ length: 20 }, (_, block) => addresses(members, block * 16 * MiB).join(" ")));
    expect(orders).toEqual(new Set([`${endpoint} b:8080`, `b:8080 ${endpoint}`]));
    await members.close();
  });

  it("applies changes, including the block size, and drops the connections of removed members", async () => {
    const { watch, begun, transport } = setUp();
    watch.send(membership(["a", "b"]));
    const members = await begun;
    watch.send(membership(["c"], 4 * MiB));
    expect(addresses(members)).toEqual(["c:8080", endpoint]);
    expect(members.geometry.blockBytes).toBe(4 * MiB);
    expect(transport.kept).toEqual(["c:8080", endpoint]);
    await members.close();
  });

  it("contains only the endpoint if the endpoint does not support WatchMembers", async () => {
    const { watch, begun, asked, clock } = setUp();
    watch.end("unsupported");
    const members = await begun;
    expect(addresses(members)).toEqual([endpoint]);
    expect(members.members).toEqual([]);
    expect(members.geometry.blockBytes).toBe(16 * MiB);
    expect(asked.length).toBe(1);
    expect(clock.waits).toBe(1);
    await members.close();
  });

  it("uses only the endpoint for reads if the endpoint computes another ring", async () => {
    const { watch, begun } = setUp();
    watch.send(membership(["a", "b"]), "another");
    const members = await begun;
    expect(addresses(members)).toEqual([endpoint]);
    expect(members.members.length).toBe(2);
    await members.close();
  });

  it("keeps the last list while the watch is broken, and restarts it alternately at members and endpoint", async () => {
    const { watch, begun, asked, clock } = setUp();
    watch.send(membership(["a"]));
    const members = await begun;
    for (const expected of ["a:8080", endpoint, "a:8080", endpoint]) {
      watch.end(new Unreachable("gone"));
      await settled();
      expect(addresses(members)).toEqual(["a:8080", endpoint]);
      clock.advance(1_000);
      await settled();
      expect(asked.at(-1)).toBe(expected);
    }
    watch.send(membership(["b"]));
    expect(addresses(members)).toEqual(["b:8080", endpoint]);
    await members.close();
  });

  it("increases the delay with each failed watch", async () => {
    const { watch, begun, asked, clock } = setUp();
    watch.send(membership(["a"]));
    const members = await begun;
    const waits: number[] = [];
    for (let failure = 0; failure < 6; failure++) {
      watch.end("ended");
      await settled();
      const beganMs = clock.monotonicMs();
      const before = asked.length;
      for (let step = 0; step < 1_000 && asked.length === before; step++) {
        clock.advance(25);
        await settled();
      }
      waits.push(clock.monotonicMs() - beganMs);
    }
    expect(waits).toEqual([75, 150, 300, 600, 750, 750]);
    await members.close();
  });

  it("keeps the last list if a message is invalid", async () => {
    const { watch, begun } = setUp();
    watch.send(membership(["a"]));
    const members = await begun;
    watch.send({
      ...membership(["b"]),
      hash: "",
      toMessage: () => ({ members: [], hash: "", blockBytes: 0, name: "" }),
    } as never);
    expect(addresses(members)).toEqual(["a:8080", endpoint]);
    await members.close();
  });

  it("fails to start if the endpoint does not answer", async () => {
    const { watch, begun, members, clock, call } = setUp();
    watch.end(new Unreachable("no connection"));
    await expect(begun).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await members.close();
    call.end();
    expect(clock.waits).toBe(0);
  });

  it("fails to start, and ends its watch, if no list arrives in time", async () => {
    const { begun, members, clock, call } = setUp();
    await expect(clock.run(begun)).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await members.close();
    call.end();
    expect(clock.waits).toBe(0);
  });

  it("leaves nothing running when it is closed", async () => {
    const { watch, begun, clock, call } = setUp();
    watch.send(membership(["a"]));
    const members = await begun;
    watch.end(new CacheError("UNAVAILABLE", "broken"));
    await settled();
    await members.close();
    call.end();
    expect(clock.waits).toBe(0);
  });

  it("tries each of several endpoints at once, and prefers the one that answered", async () => {
    const { watch, begun, asked } = setUp(["a:1", "b:1", "c:1"]);
    watch.end(new Unreachable("no connection"));
    await settled();
    watch.end(new Unreachable("no connection"));
    await settled();
    watch.send(membership(["m"]), "another");
    const members = await begun;
    expect(asked).toEqual(["a:1", "b:1", "c:1"]);
    expect(addresses(members)).toEqual(["c:1", "a:1", "b:1"]);
    await members.close();
  });

  it("fails to start only when every endpoint has failed", async () => {
    const { watch, begun, members, asked } = setUp(["a:1", "b:1"]);
    begun.catch(() => undefined);
    for (const name of ["a", "b"]) {
      watch.end(new Unreachable(`cannot connect to ${name}`));
      await settled();
    }
    await expect(begun).rejects.toMatchObject({ code: "UNAVAILABLE", message: "cannot connect to b" });
    expect(asked).toEqual(["a:1", "b:1"]);
    await members.close();
  });

  it("lets calls wait for an endpoint that starts later", async () => {
    const { watch, begun, members, clock, call } = setUp();
    watch.end(new Unreachable("no connection"));
    await expect(begun).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const ready = members.ready(call);
    clock.advance(1_000);
    await settled();
    watch.send(membership(["a"]));
    await ready;
    expect(members.isReady).toBe(true);
    await members.close();
  });

  it("names the reason when a call has waited for an endpoint until its deadline", async () => {
    const { watch, begun, members, clock, call } = setUp();
    watch.end(new Unreachable("no connection"));
    await expect(begun).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(clock.run(members.ready(call))).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: expect.stringContaining("no member has answered yet: no connection"),
    });
    await members.close();
  });

  it("does not let calls wait for an endpoint that refuses the client", async () => {
    const { watch, begun, members, call } = setUp();
    watch.end(new CacheError("UNAUTHENTICATED", "no token"));
    await expect(begun).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    await expect(members.ready(call)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    await members.close();
  });
});
