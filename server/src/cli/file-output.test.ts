import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toFile } from "./file-output.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "frontcache-output-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

describe("a file that is written", () => {
  it("is there when it is complete, in place of what was there before", async () => {
    const path = join(folder, "object");
    writeFileSync(path, "before");
    await toFile(Readable.from([Buffer.from("ab"), Buffer.from("c")]), path);
    expect(readFileSync(path, "utf8")).toBe("abc");
    expect(readdirSync(folder)).toEqual(["object"]);
  });

  it("stays as it was when the stream breaks off, and leaves nothing beside it", async () => {
    const path = join(folder, "object");
    writeFileSync(path, "before");
    const source = new Readable({ read() {} });
    source.push("half");
    const written = toFile(source, path);
    source.destroy(new Error("broken off"));
    await expect(written).rejects.toThrow("broken off");
    expect(readFileSync(path, "utf8")).toBe("before");
    expect(readdirSync(folder)).toEqual(["object"]);
  });

  it("is never put in a device's place", async () => {
    await toFile(Readable.from([Buffer.from("abc")]), "/dev/null");
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  });

  it("needs a directory", async () => {
    await expect(toFile(Readable.from(["abc"]), join(folder, "none", "object"))).rejects.toThrow("ENOENT");
  });
});
