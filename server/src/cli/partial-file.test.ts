import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isDevice, toDevice } from "./file-output.js";
import { PartialFile } from "./partial-file.js";

const content = { url: "s3://bucket/key", version: "v1", offset: 10, end: 16 };
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "frontcache-output-"));
  path = join(folder, "object");
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** A stream that brings some text and then fails. */
function breaking(text: string): Readable {
  return Readable.from(
    (async function* () {
      yield Buffer.from(text);
      throw new Error("cut off");
    })(),
  );
}

/** A file of which `abc` came before its stream failed. */
async function begun(): Promise<void> {
  const file = await PartialFile.open(path, content, true);
  await expect(
    file.append(
      () => breaking("abc"),
      () => {},
    ),
  ).rejects.toThrow("cut off");
  expect(file.bytes).toBe(3);
}

describe("a downloaded file", () => {
  it("replaces the previous file when it is complete, and leaves no other file", async () => {
    writeFileSync(path, "before");
    const file = await PartialFile.open(path, content, true);
    const heard: number[] = [];
    await file.append(
      () => Readable.from([Buffer.from("abcd"), Buffer.from("ef")]),
      (bytes) => heard.push(bytes),
    );
    expect([readFileSync(path, "utf8"), heard]).toEqual(["before", [4, 2]]);
    await file.finish();
    expect([readFileSync(path, "utf8"), readdirSync(folder)]).toEqual(["abcdef", ["object"]]);
  });

  it("is resumed for the same version and range", async () => {
    await begun();
    const file = await PartialFile.open(path, content, true);
    expect(file.bytes).toBe(3);
    await file.append(
      () => Readable.from([Buffer.from("def")]),
      () => {},
    );
    await file.finish();
    expect([readFileSync(path, "utf8"), readdirSync(folder)]).toEqual(["abcdef", ["object"]]);
  });

  it.each([
    ["another version", { ...content, version: "v2" }, true],
    ["another range", { ...content, end: 17 }, true],
    ["another object", { ...content, url: "s3://bucket/key2" }, true],
    ["the same, but anew is asked for", content, false],
  ])("is restarted for %s", async (_, other, resume) => {
    await begun();
    const file = await PartialFile.open(path, other, resume);
    expect(file.bytes).toBe(0);
    await file.append(
      () => Readable.from([Buffer.from("new")]),
      () => {},
    );
    await file.finish();
    expect(readFileSync(path, "utf8")).toBe("new");
  });

  it("is restarted if the partial file has no valid description", async () => {
    await begun();
    writeFileSync(`${path}.part.json`, "{");
    expect((await PartialFile.open(path, content, true)).bytes).toBe(0);
    await begun();
    writeFileSync(`${path}.part`, "longer than it can be");
    const file = await PartialFile.open(path, content, true);
    expect(file.bytes).toBe(0);
    await file.remove();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("needs an existing directory", async () => {
    await expect(PartialFile.open(join(folder, "none", "object"), content, true)).rejects.toThrow("ENOENT");
  });
});

describe("a device", () => {
  it("is written directly and never replaced", async () => {
    expect([isDevice("/dev/null"), isDevice(path)]).toEqual([true, false]);
    await toDevice(Readable.from([Buffer.from("abc")]), "/dev/null", () => {});
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  });
});
