import { describe, expect, it } from "vitest";
import { MemberList } from "./gen/cache.js";
import { type MemberInfo, Membership } from "./members.js";

const BLOCK = 16 * 1024 * 1024;
const a: MemberInfo = { name: "a", grpcAddress: "10.0.0.1:8080", httpAddress: "10.0.0.1:8081" };
const b: MemberInfo = { name: "b", grpcAddress: "[fd00::2]:8080", httpAddress: "[fd00::2]:8081" };
const c: MemberInfo = { name: "c", grpcAddress: "c.example:8080" };

describe("a membership", () => {
  it("lists its members sorted by name", () => {
    expect(Membership.of([c, a, b], BLOCK).members).toEqual([a, b, c]);
    expect(Membership.of([c, a, b], BLOCK).hash).toBe(Membership.of([b, c, a], BLOCK).hash);
  });

  it("is immutable", () => {
    const membership = Membership.of([a, b], BLOCK);
    expect(Object.isFrozen(membership.members)).toBe(true);
  });

  it("has a hash that is the same on every machine", () => {
    expect(Membership.of([a, b, c], BLOCK).hash).toBe("a712d41f731b978b");
  });

  it("has another hash for another name, address, HTTP address or block size", () => {
    const others = [
      Membership.of([a, b], BLOCK),
      Membership.of([{ ...a, name: "d" }, b, c], BLOCK),
      Membership.of([{ ...a, grpcAddress: "10.0.0.9:8080" }, b, c], BLOCK),
      Membership.of([a, b, { ...c, httpAddress: "c.example:8081" }], BLOCK),
      Membership.of([a, b, c], 2 * BLOCK),
    ];
    expect(new Set([Membership.of([a, b, c], BLOCK), ...others].map((membership) => membership.hash)).size).toBe(6);
  });

  it("is the same after a round trip over the wire", () => {
    const sent = Membership.of([a, b, c], BLOCK);
    const message = MemberList.decode(MemberList.encode(sent.toMessage("b")).finish());
    expect(message.name).toBe("b");
    const received = Membership.fromMessage(message);
    expect(received.members).toEqual(sent.members);
    expect(received.hash).toBe(message.hash);
  });

  it("ranks all its members for a block, the owner first", () => {
    const membership = Membership.of([a, b, c], BLOCK);
    const owners = [...membership.owners("s3://bucket/file", 0)];
    expect(owners.toSorted((x, y) => (x.name < y.name ? -1 : 1))).toEqual([a, b, c]);
    expect(membership.owner("s3://bucket/file", 0)).toBe(owners[0]);
    expect(membership.owner("s3://bucket/file", 0, 2)).toBe(owners[2]);
    expect(membership.owner("s3://bucket/file", 0, 3)).toBeUndefined();
    expect([...Membership.of([], BLOCK).owners("s3://bucket/file", 0)]).toEqual([]);
  });

  it("keeps every owner when only addresses change, and returns the new addresses", () => {
    const before = Membership.of([a, b, c], BLOCK);
    const moved = { ...a, grpcAddress: "10.0.0.7:8080" };
    const after = Membership.of([moved, b, c], BLOCK, before);
    for (let block = 0; block < 100; block++) {
      const owner = before.owner("s3://bucket/file", block * BLOCK)!;
      expect(after.owner("s3://bucket/file", block * BLOCK)).toBe(owner.name === "a" ? after.member("a") : owner);
    }
    expect(after.member("a")).toEqual(moved);
  });

  it("does not reuse the ring if names differ", () => {
    const before = Membership.of([a, b], BLOCK);
    const owners = [...Membership.of([a, c], BLOCK, before).owners("s3://bucket/file", 0)];
    expect(owners.map((owner) => owner.name).toSorted()).toEqual(["a", "c"]);
  });

  it.each([
    ["a name taken twice", [a, { ...b, name: "a" }], BLOCK, "the name a is taken twice"],
    ["an empty name", [{ ...a, name: "" }], BLOCK, 'member list: "" is not a name'],
    [
      "an address without a port",
      [{ ...a, grpcAddress: "10.0.0.1" }],
      BLOCK,
      '"10.0.0.1" of a is not an address: write host:port',
    ],
    ["a bare IPv6 address", [{ ...a, grpcAddress: "fd00::2:8080" }], BLOCK, "is not an address"],
    ["a block size of 0", [a], 0, "block size 0"],
  ])("rejects %s", (_what, members, blockBytes, message) => {
    expect(() => Membership.of(members, blockBytes)).toThrow(message);
  });
});
