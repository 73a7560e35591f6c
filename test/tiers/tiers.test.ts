import { execFileSync, fork, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { longest } from "./longest-first.js";
import { tierOf } from "./tiers.js";

describe("the tiers", () => {
  it("are selected by the name of the file", () => {
    expect(tierOf("server/src/cache/local-cache.test.ts")).toBe("unit");
    expect(tierOf("test/s3/aws-sdk.listeners.test.ts")).toBe("listeners");
    expect(tierOf("test/e2e/crash.processes.test.ts")).toBe("processes");
    expect(tierOf("test/sim/place.ts")).toBeUndefined();
  });

  it("begin with files that exist", () => {
    const root = join(import.meta.dirname, "..", "..");
    expect(longest.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  it("compare byte arrays by their bytes and types", () => {
    const bytes = Buffer.alloc(1 << 20, 7);
    expect({ bytes }).toEqual({ bytes: Buffer.from(bytes) });
    expect(bytes).not.toEqual(Buffer.concat([bytes.subarray(1), Buffer.of(8)]));
    expect(bytes).not.toEqual(bytes.subarray(1));
    expect(Buffer.of(1)).not.toEqual(Uint8Array.of(1));
    expect(Buffer.of(1)).toEqual(expect.any(Buffer));
  });

  it("fail a unit test that listens", () => {
    expect(() => createServer().listen(0)).toThrow("must end with .listeners.test.ts");
    expect(() => createHttpServer().listen(0, "127.0.0.1")).toThrow("must end with .listeners.test.ts");
  });

  it("fail a unit test that starts a process", () => {
    expect(() => spawn(process.execPath, ["--version"])).toThrow("must end with .processes.test.ts");
    expect(() => fork("member.mjs")).toThrow("must end with .processes.test.ts");
    expect(() => execFileSync(process.execPath, ["--version"])).toThrow("must end with .processes.test.ts");
  });
});
