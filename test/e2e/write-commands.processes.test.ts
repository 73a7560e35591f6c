import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ListedObject } from "@frontcache/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { frontcache } from "./command-line.js";
import { MemberInProcess } from "./member-in-process.js";
import { temporaryDirectory } from "./member-process.js";

let origin: S3Emulator;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let member: MemberInProcess;

beforeAll(async () => {
  origin = await S3Emulator.start();
  directory = await temporaryDirectory();
  const cacheDirectory = join(directory.path, "cache");
  member = await MemberInProcess.start({ endpoint: origin.endpoint, cacheDirectory, flags: ["--writes", "anonymous"] });
  origin.put("bucket", "existing", "bytes");
});

afterAll(async () => {
  await member?.stop();
  await origin?.close();
  await directory?.[Symbol.asyncDispose]();
});

describe("frontcache put, ls, cp and rm", () => {
  const ask = (args: string[], input?: string) => frontcache(args, { FRONTCACHE_ENDPOINT: member.grpc }, input);

  it("write files and standard input, list, copy and delete", async () => {
    const file = join(directory.path, "report.csv");
    await writeFile(file, "a,b\n");
    const put = await ask(["put", file, "s3://files/in/", "--content-type", "text/csv", "--meta", "by=me", "--json"]);
    expect([put.exitCode, put.stderr]).toEqual([0, ""]);
    expect(JSON.parse(put.stdout.toString())).toMatchObject({ url: "s3://files/in/report.csv", bytes: 4 });
    expect(await ask(["put", "-", "s3://files/in/input"], "from a pipe")).toMatchObject({ exitCode: 0, stderr: "" });
    expect(await ask(["cp", "s3://files/in/input", "s3://files/out/"])).toMatchObject({ exitCode: 0, stderr: "" });
    expect((await ask(["get", "s3://files/out/input"])).stdout.toString()).toBe("from a pipe");
    const lines = (await ask(["ls", "s3://files/in/"])).stdout.toString().split("\n");
    expect(lines.map((line) => line.slice(19))).toEqual([
      expect.stringMatching(/^ +11 B {2}s3:\/\/files\/in\/input$/),
      expect.stringMatching(/^ +4 B {2}s3:\/\/files\/in\/report\.csv$/),
      "",
    ]);
    const all = JSON.parse((await ask(["ls", "s3://files", "--recursive", "--json"])).stdout.toString());
    expect(all.entries.map((entry: ListedObject) => entry.url)).toEqual([
      "s3://files/in/input",
      "s3://files/in/report.csv",
      "s3://files/out/input",
    ]);
    expect((await ask(["rm", "s3://files/", "--prefix", "--dry-run"])).stdout.toString()).toBe("objects: 3\n");
    expect((await ask(["rm", "s3://files/", "--prefix"])).stdout.toString()).toBe("deleted: 3\nfailed:  0\n");
    expect((await ask(["ls", "s3://files"])).stdout.toString()).toBe("");
  });

  it("print one line for what cannot be done", async () => {
    expect(await ask(["put", "none", "s3://files/none"])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringMatching(/^frontcache: .*none.*\n$/),
    });
    expect(await ask(["put", "-", "s3://files/"])).toMatchObject({ exitCode: 2 });
    expect(await ask(["put", "-", "s3://files/x", "--meta", "novalue"])).toMatchObject({ exitCode: 2 });
    expect(await ask(["cp", "s3://files/none", "s3://files/to"])).toMatchObject({ exitCode: 3 });
    expect(await ask(["put", "-", "s3://bucket/existing", "--if-missing"], "other")).toMatchObject({ exitCode: 1 });
    expect((await ask(["get", "s3://bucket/existing"])).stdout.toString()).toBe("bytes");
  });
});
