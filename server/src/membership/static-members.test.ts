import { describe, expect, it } from "vitest";
import { alone } from "./alone.js";
import { firstMembership } from "./member-source.js";
import { staticMembers } from "./static-members.js";

const BLOCK = 16 * 1024 * 1024;
const a = { name: "a", grpcAddress: "127.0.0.1:9001", httpAddress: "127.0.0.1:9101" };
const b = { name: "b", grpcAddress: "127.0.0.1:9002", httpAddress: "127.0.0.1:9102" };

describe("a static member list", () => {
  it("is available immediately and calls each subscriber once", async () => {
    const source = staticMembers([b, a], BLOCK);
    const heard: string[] = [];
    source.subscribe((membership) => heard.push(membership.hash));
    expect(heard).toEqual([source.current()?.hash]);
    expect((await firstMembership(source, new AbortController().signal)).members).toEqual([a, b]);
    expect(source.report()).toEqual({ ageMs: 0, failures: 0 });
    await source.close();
  });

  it("rejects duplicate names", () => {
    expect(() => staticMembers([a, { ...b, name: "a" }], BLOCK)).toThrow("the name a is taken twice");
  });

  it("of one member owns every block", () => {
    const membership = alone(a, BLOCK).current();
    for (let block = 0; block < 50; block++) expect(membership?.owner("s3://bucket/key", block * BLOCK)).toEqual(a);
  });
});
