import { CacheError, parseObjectUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { beforeEach, describe, expect, it } from "vitest";
import type { ObjectRead, ReadResult } from "../cache/object-read.js";
import { HottestObjects } from "../metrics/hottest-objects.js";
import { Metrics } from "../metrics/metrics.js";
import { ReadMeter } from "../metrics/read-meter.js";
import { RecentErrors } from "../metrics/recent-errors.js";
import type { ReadRequest } from "../routing/cache.js";
import { ANONYMOUS } from "../security/principal.js";
import { measured } from "./measured-cache.js";

const ref = parseObjectUrl("s3://bucket/k");
const info = { version: "v", objectSize: 100 };

let clock: ManualClock;
let metrics: Metrics;
let errors: RecentErrors;
let hottest: HottestObjects;

beforeEach(() => {
  clock = new ManualClock();
  metrics = new Metrics({}, 0);
  errors = new RecentErrors(10);
  hottest = new HottestObjects(10);
});

/** A read whose slices take this many milliseconds each, of this many bytes; "fail" throws. */
function reading(result: ReadResult, steps: readonly (number | "fail")[]): ObjectRead {
  const left = [...steps];
  return {
    info,
    offset: 0,
    length: 100,
    result,
    next() {
      const step = left.shift();
      clock.advance(10);
      if (step === "fail") return Promise.reject(new CacheError("UNAVAILABLE", "s3://bucket/k: unreachable"));
      return step === undefined ? undefined : { bytes: Buffer.alloc(step), release() {} };
    },
    close() {},
  };
}

async function readAll(open: () => ObjectRead | Promise<ObjectRead>, cachedOnly = false): Promise<void> {
  const meter = new ReadMeter(metrics, hottest, errors, clock);
  const cache = measured(meter)({ open, ask: () => expect.unreachable() });
  const request: ReadRequest = {
    principal: ANONYMOUS,
    ref,
    offset: 0,
    length: 100,
    forwarded: false,
    cachedOnly,
    signal: new AbortController().signal,
  };
  const read = await cache.open(request);
  try {
    while ((await read.next()) !== undefined);
  } finally {
    read.close();
    read.close();
  }
}

const counted = (result: ReadResult) => ({
  reads: metrics.families.reads.at({ result }).value,
  bytes: metrics.families.readIo.at({ result }).value,
  seconds: metrics.families.readDuration.at({ result }).sum,
  firstByteSeconds: metrics.families.readFirstByte.at({ result }).sum,
});

describe("a measured read", () => {
  it("is counted once by its result, with its bytes and both durations", async () => {
    await readAll(() => reading("hit", [60, 40]));
    expect(counted("hit")).toEqual({ reads: 1, bytes: 100, seconds: 0.03, firstByteSeconds: 0 });
    expect(hottest.top(1)).toEqual([{ url: "s3://bucket/k", reads: 1, bytes: 100 }]);
  });

  it("that waits records the time to its first bytes", async () => {
    await readAll(() => Promise.resolve(reading("filled", [100])));
    expect(counted("filled")).toMatchObject({ reads: 1, firstByteSeconds: 0.01 });
  });

  it("counts bytes without an origin request as saved, and not those of fills or other members", async () => {
    for (const result of ["hit", "joined", "stale", "filled", "forwarded"] as const) {
      await readAll(() => Promise.resolve(reading(result, [100])));
    }
    expect(metrics.families.saved.at().value).toBe(300);
  });

  it("that fails counts as an error only, at its opening or midway", async () => {
    await expect(readAll(() => reading("filled", [50, "fail"]))).rejects.toThrow("unreachable");
    await expect(readAll(() => Promise.reject(new CacheError("NOT_FOUND", "s3://bucket/k: no such object")))).rejects.toThrow(
      "no such",
    );
    expect(counted("filled")).toMatchObject({ reads: 0, bytes: 50 });
    expect(errors.list().map(({ code }) => code)).toEqual(["NOT_FOUND", "UNAVAILABLE"]);
    expect(metrics.families.readErrors.at({ "error.type": "UNAVAILABLE" }).value).toBe(1);
  });

  it("whose client disconnected is counted, but is not a recent error", async () => {
    await expect(readAll(() => Promise.reject(new CacheError("CANCELLED", "the reader went away")))).rejects.toThrow();
    expect(metrics.families.readErrors.at({ "error.type": "CANCELLED" }).value).toBe(1);
    expect(errors.list()).toEqual([]);
  });

  it("is not counted if another member asks for cached bytes", async () => {
    await readAll(() => reading("hit", [100]), true);
    expect(counted("hit").reads).toBe(0);
  });
});
