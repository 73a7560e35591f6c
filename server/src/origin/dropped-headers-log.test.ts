import { parseObjectUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { expect, it } from "vitest";
import { DroppedHeadersLog } from "./dropped-headers-log.js";

it("names some dropped headers of one object of each bucket a minute", () => {
  const lines: object[] = [];
  const clock = new ManualClock();
  const log = new DroppedHeadersLog({ warn: (line: object) => void lines.push(line) }, clock);
  const names = Array.from({ length: 30 }, (_, at) => `x-amz-meta-${at}`);
  const report = () => {
    for (const url of ["s3://one/a", "s3://one/b", "s3://two/a"]) log.report(parseObjectUrl(url), names);
  };
  report();
  expect(lines).toEqual([
    { event: "headers-dropped", bucket: "s3://one", url: "s3://one/a", count: 30, names: names.slice(0, 20) },
    { event: "headers-dropped", bucket: "s3://two", url: "s3://two/a", count: 30, names: names.slice(0, 20) },
  ]);
  clock.advance(60_000);
  report();
  expect(lines).toHaveLength(4);
});
