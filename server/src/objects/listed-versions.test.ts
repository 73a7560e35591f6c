import { parseObjectUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { type ListedVersion, ListedVersions } from "./listed-versions.js";

const page = Array.from({ length: 1_000 }, (_, at) => ({ ref: parseObjectUrl(`s3://bucket/${at}`), version: "v" }));

describe("the versions of a listing", () => {
  it("are reported once each, 128 at a time", async () => {
    const running = new Set<ListedVersion>();
    const reported: ListedVersion[] = [];
    let most = 0;
    const listed = new ListedVersions({
      clock: new ManualClock(),
      isKnown: () => false,
      async report(version) {
        reported.push(version);
        running.add(version);
        most = Math.max(most, running.size);
        await new Promise((resolve) => setImmediate(resolve));
        running.delete(version);
        throw new Error("the home is unreachable");
      },
    });
    await listed.observe(page);
    await listed.observe(page);
    expect(reported).toEqual(page);
    expect(most).toBe(128);
  });

  it("delay the listing by at most a second", async () => {
    const clock = new ManualClock();
    const listed = new ListedVersions({ clock, isKnown: () => false, report: () => new Promise(() => {}) });
    const observed = listed.observe(page);
    clock.advance(1_000);
    await observed;
  });

  it("are reported again after a while, and at once when they differ from what was reported", async () => {
    const clock = new ManualClock();
    const reported: string[] = [];
    const listed = new ListedVersions({
      clock,
      isKnown: () => false,
      report: async ({ version }) => void reported.push(version),
    });
    const ref = parseObjectUrl("s3://bucket/key");
    for (const version of ["v1", "v1", "v2", "v1"]) await listed.observe([{ ref, version }]);
    expect(reported).toEqual(["v1", "v2", "v1"]);
    clock.advance(10_000);
    await listed.observe([{ ref, version: "v1" }]);
    expect(reported).toHaveLength(4);
  });
});
