import { Membership } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { MemberView } from "./member-view.js";

const list = (...names: string[]): Membership =>
  Membership.of(
    names.map((name, i) => ({ name, grpcAddress: `127.0.0.${i + 1}:9000` })),
    1024,
  );
const names = (view: MemberView): string[] => view.mayHave("s3://bucket/key", 0).map(({ name }) => name);

describe("who may hold a block", () => {
  it("is the next on the ring, never this member", () => {
    const all = list("a", "b", "c");
    const ranked = [...all.owners("s3://bucket/key", 0)].map(({ name }) => name);
    expect(names(new MemberView(ranked[0]!, new ManualClock(), all))).toEqual(ranked.slice(1));
  });

  it("is first of all the owner before the last change, also one that is leaving", () => {
    const before = list("a", "b", "c");
    const owner = before.owner("s3://bucket/key", 0)!;
    const others = before.members.map(({ name }) => name).filter((name) => name !== owner.name);
    const after = list(...others);
    const self = after.owner("s3://bucket/key", 0)!.name;
    const clock = new ManualClock();
    const view = new MemberView(self, clock, before);
    view.update(after);
    expect(view.mayHave("s3://bucket/key", 0)[0]).toEqual(owner);
    clock.advance(61_000);
    expect(names(view)).not.toContain(owner.name);
    expect(view.known().map(({ name }) => name)).not.toContain(owner.name);
  });

  it("is asked at the address that it has now", () => {
    const before = list("a", "b");
    const self = before.owner("s3://bucket/key", 0, 1)!.name;
    const owner = before.owner("s3://bucket/key", 0)!.name;
    const view = new MemberView(self, new ManualClock(), before);
    const moved = Membership.of(
      before.members.map((member) => ({ ...member, grpcAddress: "127.0.0.9:1234" })),
      1024,
    );
    view.update(moved);
    expect(view.mayHave("s3://bucket/key", 0)).toEqual([{ name: owner, grpcAddress: "127.0.0.9:1234" }]);
  });

  it("is nobody for a member that is alone", () => {
    expect(names(new MemberView("a", new ManualClock(), list("a")))).toEqual([]);
  });
});
