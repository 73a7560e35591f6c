import { describe, expect, it } from "vitest";
import { hitRatio, parseMemberFigures } from "./member-figures.js";

const text = `# HELP frontcache_reads_total Reads answered, by where their bytes came from.
# TYPE frontcache_reads_total counter
frontcache_reads_total{result="hit"} 90
frontcache_reads_total{result="joined"} 4
frontcache_reads_total{result="filled"} 5
frontcache_reads_total{result="stale"} 1
frontcache_reads_total{result="forwarded"} 1000
frontcache_volume_usage_bytes{volume="/a b"} 1.5e9
frontcache_volume_usage_bytes{volume="/c"} 500
frontcache_volume_limit_bytes{volume="/a b"} 2e9
frontcache_volume_blocks{volume="/a b"} 12
frontcache_fills 2
process_uptime_seconds 3.5
`;

describe("a member's metrics", () => {
  it("are added up over its volumes", () => {
    const reads = { hit: 90, joined: 4, filled: 5, stale: 1 };
    expect(parseMemberFigures(text)).toEqual({
      usedBytes: 1_500_000_500,
      limitBytes: 2e9,
      blocks: 12,
      fills: 2,
      reads,
      uptimeSeconds: 3.5,
    });
  });

  it("tell which share of what it answered itself was held", () => {
    expect(hitRatio(parseMemberFigures(text))).toBe(0.91);
    expect(hitRatio(parseMemberFigures(""))).toBeUndefined();
  });
});
