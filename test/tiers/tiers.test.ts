import { execFileSync, fork, spawn } from "node:child_process";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { tierOf } from "./tiers.js";

describe("the tiers", () => {
  it("are selected by the name of the file", () => {
    expect(tierOf("server/src/cache/local-cache.test.ts")).toBe("unit");
    expect(tierOf("test/s3/aws-sdk.listeners.test.ts")).toBe("listeners");
    expect(tierOf("test/e2e/crash.processes.test.ts")).toBe("processes");
    expect(tierOf("test/sim/place.ts")).toBeUndefined();
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
