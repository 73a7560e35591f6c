import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { commands } from "./main.js";

let directory: string;
let file: string;
let printed: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "frontcache-grants-"));
  file = join(directory, "identities.yaml");
  writeFileSync(
    file,
    `identities: [{ name: ada, groups: readers }]
grants:
  - { to: root, operations: admin, buckets: "s3://*" }
  - { to: "group:readers", operations: [read, list, status], buckets: s3://lake, prefixes: public/ }
`,
  );
  printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true });
});

const check = (...args: string[]): Promise<unknown> =>
  commands().parseAsync(["grants", "check", "--identities-file", file, "--json", ...args], { from: "user" });

describe("frontcache grants check", () => {
  it.each([
    [["--as", "ada", "read", "s3://lake/public/key"], "grant 2 allows ada to read it"],
    [["--as", "ada", "list", "s3://lake/public/"], "grant 2 allows ada to list it"],
    [["--as", "ada", "status"], "grant 2 allows ada to see the status of the cluster"],
    [["--as", "bob", "--group", "x", "readers", "--", "read", "s3://lake/public/key"], "grant 2 allows bob to read it"],
    [["--as", "root", "admin", "s3://any"], "grant 1 allows root to administer it"],
    [["--allow-bucket", "s3://lake,s3://sea", "--as", "ada", "read", "s3://lake/public/key"], "grant 2 allows ada to read it"],
  ])("names the grant that allows an operation: %j", async (args, reason) => {
    await check(...args);
    expect(JSON.parse(printed)).toEqual({ decision: "allowed", reason });
  });

  it.each([
    [["--as", "ada", "read", "s3://lake/key"], "no grant allows ada to read it"],
    [["--as", "ada", "list", "s3://lake"], "no grant allows ada to list it"],
    [["--as", "bob", "status"], "no grant allows bob to see the status of the cluster"],
    [["--as", "anonymous", "read", "s3://lake/public/key"], "no grant allows anonymous to read it"],
    [
      ["--allow-bucket", "s3://sea", "s3://pond-*", "--as", "ada", "read", "s3://lake/public/key"],
      "the bucket is not served here: ask for an allowed bucket (--allow-bucket)",
    ],
  ])("fails for what is denied: %j", async (args, reason) => {
    await expect(check(...args)).rejects.toMatchObject({ code: "PERMISSION_DENIED", message: reason });
    expect(printed).toBe("");
  });

  it.each([
    [["--as", "ada", "fly", "s3://lake/key"], "fly is no operation"],
    [["--as", "ada", "read"], "read needs a URL"],
    [["--as", "ada", "read", "http://lake/key"], "http"],
  ])("refuses wrong arguments: %j", async (args, problem) => {
    await expect(check(...args)).rejects.toThrow(problem);
  });

  it("says what is wrong with the file", async () => {
    writeFileSync(file, "identities: []");
    await expect(check("--as", "ada", "status")).rejects.toThrow(`${file}: grants: missing`);
    rmSync(file);
    await expect(check("--as", "ada", "status")).rejects.toThrow(`${file} cannot be read (ENOENT)`);
  });
});
