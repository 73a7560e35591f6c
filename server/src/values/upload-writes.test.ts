import { describe, expect, it } from "vitest";
import { SpanSet } from "./span-set.js";
import { StampedSpans } from "./stamped-spans.js";
import { UploadWrites } from "./upload-writes.js";

/** A member's writes, of which each step begins one or ends it. */
class Member {
  readonly present = new SpanSet();
  readonly writes = new UploadWrites(this.present);

  begin(start: number, stamp: string): (end: number, isWhole?: boolean) => void {
    const write = this.writes.begin(start, stamp);
    return (end, isWhole = true) => {
      this.present.add(start, end);
      this.writes.end(write, end, isWhole);
    };
  }
}

function digestOf(steps: (member: Member) => void): string {
  const member = new Member();
  steps(member);
  return member.writes.digest;
}

describe("the digest of an upload's writes", () => {
  const both = digestOf((member) => {
    member.begin(0, "1")(10);
    member.begin(10, "2")(20);
  });

  it("is the same for the same writes, in any order, at once, and in pieces", () => {
    const reversed = digestOf((member) => {
      member.begin(10, "2")(20);
      member.begin(0, "1")(10);
    });
    const atOnce = digestOf((member) => {
      const [first, second] = [member.begin(0, "1"), member.begin(10, "2")];
      second(20);
      first(10);
    });
    const inPieces = digestOf((member) => {
      member.begin(0, "1")(4);
      member.begin(10, "2")(20);
      member.begin(4, "1")(10);
      member.begin(20, "3")(20);
    });
    expect([reversed, atOnce, inPieces]).toEqual([both, both, both]);
  });

  it.each<[string, (member: Member) => void]>([
    ["one is missing", (member) => member.begin(0, "1")(10)],
    [
      "one has broken off, although as many bytes of it have arrived",
      (member) => {
        member.begin(0, "1")(10);
        member.begin(10, "2")(20, false);
      },
    ],
    [
      "two replaced the same bytes at once",
      (member) => {
        const [first, second] = [member.begin(0, "1"), member.begin(9, "2")];
        first(10);
        second(19);
      },
    ],
    [
      "an earlier one replaced bytes of a later one",
      (member) => {
        member.begin(9, "2")(19);
        member.begin(0, "1")(10);
      },
    ],
  ])("differs from all others if %s", (_, steps) => {
    expect(digestOf(steps)).not.toBe(both);
    const inOrder = digestOf((member) => {
      member.begin(0, "1")(10);
      member.begin(9, "2")(19);
    });
    expect(digestOf(steps)).not.toBe(inOrder);
  });
});

describe("ranges with stamps", () => {
  it("keep the newest stamp of each byte", () => {
    const spans = new StampedSpans();
    for (const [start, end, stamp] of [
      [10, 20, "2"],
      [0, 30, "1"],
      [15, 40, "3"],
      [12, 14, "0"],
    ] as const) {
      spans.add({ start, end, stamp });
    }
    expect(spans.all.map(({ start, end, stamp }) => [start, end, stamp])).toEqual([
      [0, 10, "1"],
      [10, 15, "2"],
      [15, 40, "3"],
    ]);
    expect(spans.bytes).toBe(40);
    expect(spans.olderThan({ start: 5, end: 50, stamp: "2" })).toEqual([
      { start: 5, end: 10, stamp: "2" },
      { start: 40, end: 50, stamp: "2" },
    ]);
  });
});
