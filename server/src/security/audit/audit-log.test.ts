import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AuditLog } from "./audit-log.js";
import { LineFile } from "./line-file.js";

const event = { outcome: "denied", operation: "read", object: "s3://bucket/key" } as const;

describe("an audit log", () => {
  it("has at most a thousand lines per second, and counts the others", () => {
    const clock = new ManualClock();
    const lines: Record<string, unknown>[] = [];
    const audit = new AuditLog((fields) => lines.push(fields), clock);
    for (let i = 0; i < 1_500; i++) audit.record(event);
    expect(lines).toHaveLength(1_000);
    clock.advance(1_000);
    audit.record(event);
    audit.record(event);
    expect(lines.slice(1_000).map(({ missing }) => missing)).toEqual([500, undefined]);
  });

  it("cuts names that are too long", () => {
    const lines: Record<string, unknown>[] = [];
    new AuditLog((fields) => lines.push(fields), new ManualClock()).record({ ...event, object: "x".repeat(100_000) });
    expect(String(lines[0]!.object).length).toBeLessThan(1_400);
  });
});

describe("a file of lines", () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "frontcache-audit-"));
  });

  afterEach(() => rmSync(directory, { recursive: true }));

  it("has all lines in order, also after it was removed", async () => {
    const path = join(directory, "audit");
    const file = new LineFile(path, (error) => expect.unreachable(String(error)));
    for (let line = 0; line < 100; line++) file.write({ line });
    await file.close();
    const written = readFileSync(path, "utf8").trim().split("\n");
    expect(written.map((text) => JSON.parse(text).line)).toEqual(Array.from({ length: 100 }, (_, line) => line));
    rmSync(path);
    file.write({ line: 100 });
    await file.close();
    expect(existsSync(path)).toBe(true);
  });

  it("reports lines that could not be written, and continues", async () => {
    const failed: number[] = [];
    const folder = join(directory, "missing");
    const file = new LineFile(join(folder, "audit"), (_, lines) => failed.push(lines));
    file.write({ line: 0 });
    await file.close();
    expect(failed).toEqual([1]);
    file.write({ line: 1 });
    await file.close();
    expect(failed).toEqual([1, 1]);
  });
});
