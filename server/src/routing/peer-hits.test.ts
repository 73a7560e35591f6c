import { describe, expect, it } from "vitest";
import { PeerHits } from "./peer-hits.js";

/** How many of the next blocks the member is asked for. */
function asked(hits: PeerHits, blocks: number): number {
  return Array.from({ length: blocks }, () => hits.isWorthAsking()).filter((isWorth) => isWorth).length;
}

describe("a member before the origin", () => {
  it("is asked for every block until it did not have 64 in a row", () => {
    const hits = new PeerHits();
    for (let block = 0; block < 64; block++) {
      expect(asked(hits, 1)).toBe(1);
      hits.missed();
    }
    expect(asked(hits, 80)).toBe(10);
  });

  it("is asked for fewer blocks the more it did not have, but for one in 64 in the end", () => {
    const hits = new PeerHits();
    for (let block = 0; block < 128; block++) hits.missed();
    expect(asked(hits, 160)).toBe(10);
    for (let block = 0; block < 10_000; block++) hits.missed();
    expect(asked(hits, 640)).toBe(10);
  });

  it("is asked for every block again after it had one", () => {
    const hits = new PeerHits();
    for (let block = 0; block < 100; block++) hits.missed();
    hits.hit();
    expect(asked(hits, 80)).toBe(80);
  });
});
