import { CacheError, type ErrorCode, parseObjectUrl } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { OriginFailureLog } from "./failure-log.js";

function setup() {
  const clock = new ManualClock();
  const lines: [Record<string, unknown>, string][] = [];
  const warn = (...line: [Record<string, unknown>, string]) => void lines.push(line);
  const failures = new OriginFailureLog({ warn: warn as never }, clock);
  const fail = (url: string, code: ErrorCode = "UNAVAILABLE", cause?: unknown): void =>
    failures.report({
      endpoint: "http://store:9000",
      ref: parseObjectUrl(url),
      operation: "fetch",
      durationMs: 1234.5,
      error: new CacheError(code, `${url}: the origin cannot be reached (ECONNREFUSED)`, { cause }),
    });
  return { clock, lines, fail };
}

describe("the log of failed requests to origins", () => {
  it("names endpoint, bucket, cause and duration, and no secret of a signed URL", () => {
    const { lines, fail } = setup();
    const url = "https://store:9000/lake/key?X-Amz-Credential=id&X-Amz-Signature=secret";
    fail(
      "s3://lake/key",
      "UNAVAILABLE",
      new Error(`GET ${url} failed`, { cause: new Error("connect ECONNREFUSED 10.0.0.1:9000") }),
    );
    expect(lines).toEqual([
      [
        {
          event: "origin-failed",
          endpoint: "http://store:9000",
          bucket: "s3://lake",
          operation: "fetch",
          code: "UNAVAILABLE",
          storeCode: "Error",
          durationMs: 1235,
          cause:
            "GET https://store:9000/lake/key?X-Amz-Credential=...&X-Amz-Signature=... failed; caused by: connect ECONNREFUSED 10.0.0.1:9000",
          suppressed: 0,
        },
        "s3://lake/key: the origin cannot be reached (ECONNREFUSED)",
      ],
    ]);
  });

  it("has one line per bucket and code in ten seconds, and counts the rest", () => {
    const { clock, lines, fail } = setup();
    for (let i = 0; i < 100; i++) fail(`s3://lake/${i}`);
    fail("s3://other/key");
    fail("s3://lake/key", "PERMISSION_DENIED");
    expect(lines.map(([{ bucket, code }]) => [bucket, code])).toEqual([
      ["s3://lake", "UNAVAILABLE"],
      ["s3://other", "UNAVAILABLE"],
      ["s3://lake", "PERMISSION_DENIED"],
    ]);
    clock.advance(10_000);
    fail("s3://lake/key");
    expect(lines[3]![0]).toMatchObject({ bucket: "s3://lake", suppressed: 99 });
  });

  it("has a line of its own for each code of the store, behind the retries' errors too", () => {
    const { lines, fail } = setup();
    for (const name of ["ExpiredToken", "InternalError", "ExpiredToken"]) {
      fail(
        "s3://lake/key",
        "UNAVAILABLE",
        new CacheError("UNAVAILABLE", "attempt", { cause: Object.assign(new Error("no"), { name }) }),
      );
    }
    expect(lines.map(([{ storeCode }]) => storeCode)).toEqual(["ExpiredToken", "InternalError"]);
  });

  it.each<ErrorCode>(["NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "CANCELLED", "INVALID_ARGUMENT"])(
    "has no line for %s, an ordinary answer to a client",
    (code) => {
      const { lines, fail } = setup();
      fail("s3://lake/key", code);
      expect(lines).toEqual([]);
    },
  );
});
